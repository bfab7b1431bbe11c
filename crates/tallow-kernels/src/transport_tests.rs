use super::*;

fn costs(n: usize, m: usize, seed: usize) -> Vec<f64> {
    (0..n * m)
        .map(|k| (((k + 1) * (7919 + 13 * seed)) % 1009) as f64 / 100.0 - 3.0)
        .collect()
}

fn masses(n: usize, seed: usize) -> Vec<f64> {
    let raw: Vec<f64> = (0..n).map(|i| 0.1 + ((i * 37 + seed * 5) % 11) as f64).collect();
    let total: f64 = raw.iter().sum();
    raw.iter().map(|mass| mass / total).collect()
}

#[test]
fn the_dual_proves_the_plan() {
    for (n, m) in [(1, 1), (1, 4), (6, 9), (9, 6), (40, 31), (64, 64)] {
        for seed in 0..4 {
            let (costs, a, b) = (costs(n, m, seed), masses(n, seed), masses(m, seed + 3));
            let found = transport(&costs, &a, &b).unwrap();
            let mut dual = 0.0;
            for (i, mass) in a.iter().enumerate() {
                let row: f64 = found.plan[i * m..(i + 1) * m].iter().sum();
                assert!((row - mass).abs() < 1e-13, "{n} x {m}");
                dual += mass * found.row_potentials[i];
            }
            for (j, mass) in b.iter().enumerate() {
                let column: f64 = found.plan.iter().skip(j).step_by(m).sum();
                assert!((column - mass).abs() < 1e-13);
                dual += mass * found.column_potentials[j];
            }
            for i in 0..n {
                for j in 0..m {
                    let slack = costs[i * m + j] - found.row_potentials[i] - found.column_potentials[j];
                    assert!(slack > -1e-11 && found.plan[i * m + j] >= 0.0, "{slack}");
                }
            }
            assert!(
                (dual - found.cost).abs() < 1e-11,
                "{n} x {m}: {dual} is not {}",
                found.cost
            );
        }
    }
}

#[test]
fn equal_masses_are_an_assignment() {
    for n in [2, 7, 33] {
        let costs = costs(n, n, n);
        let found = transport(&costs, &vec![1.0; n], &vec![1.0; n]).unwrap();
        let assigned = crate::assign(&costs, n, n).unwrap();
        assert!((found.cost - assigned.cost).abs() < 1e-10);
        assert!(found.plan.iter().all(|&mass| mass == 0.0 || mass == 1.0));
    }
}

#[test]
fn a_hand_made_case_has_its_answer() {
    // Rows hold 3 and 1; columns want 2 and 2. Row 0 fills column 0 and half of column 1.
    let found = transport(&[1.0, 2.0, 5.0, 1.0], &[3.0, 1.0], &[2.0, 2.0]).unwrap();
    assert_eq!(found.plan, [2.0, 1.0, 0.0, 1.0]);
    assert_eq!(found.cost, 5.0);
}

#[test]
fn a_row_without_mass_sends_none_and_totals_must_agree() {
    let found = transport(&[1.0, 2.0, 3.0, 0.0], &[0.0, 1.0], &[0.5, 0.5]).unwrap();
    assert_eq!(found.plan, [0.0, 0.0, 0.5, 0.5]);
    assert!(transport(&[0.0; 4], &[1.0, 1.0], &[1.0, 0.5]).is_err());
    assert!(transport(&[f64::INFINITY], &[1.0], &[1.0]).is_err());
}
