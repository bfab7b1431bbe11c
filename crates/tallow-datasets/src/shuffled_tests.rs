use candle_core::{Device, Tensor};

use super::*;

fn numbered(rows: u32, batch: usize, seed: u64) -> Shuffled {
    let data = Tensor::arange(0f32, rows as f32, &Device::Cpu).unwrap();
    Shuffled::new(TensorDataset::new(&data).unwrap(), batch, seed).unwrap()
}

fn values(batch: &Batch) -> Vec<f32> {
    batch.x0.to_vec1().unwrap()
}

#[test]
fn an_epoch_holds_every_row_once_and_the_next_has_another_order() {
    let mut batches = numbered(101, 10, 1);
    assert_eq!(batches.batches_per_epoch(), 11);
    let mut epoch = || {
        batches
            .by_ref()
            .take(11)
            .flat_map(|batch| values(&batch.unwrap()))
            .collect::<Vec<_>>()
    };
    let (first, second) = (epoch(), epoch());
    assert_ne!(first, second);
    for mut rows in [first, second] {
        rows.sort_by(f32::total_cmp);
        assert_eq!(rows, (0..101).map(|row| row as f32).collect::<Vec<_>>());
    }
    assert_eq!(batches.position(), Position { epoch: 2, row: 0 });
}

#[test]
fn a_position_restores_what_follows_it() {
    let mut batches = numbered(23, 5, 2);
    let skipped = batches.by_ref().take(7).count();
    assert_eq!(skipped, 7);
    let position = batches.position();
    assert_eq!(position, Position { epoch: 1, row: 10 });
    let mut restored = numbered(23, 5, 2);
    restored.seek(position).unwrap();
    for _ in 0..9 {
        assert_eq!(
            values(&batches.next_batch().unwrap()),
            values(&restored.next_batch().unwrap())
        );
    }
    assert!(matches!(
        restored.seek(Position { epoch: 0, row: 23 }),
        Err(Error::Position { .. })
    ));
}

#[test]
fn a_training_loop_finds_its_place_again_in_the_same_data_only() {
    let mut batches = numbered(23, 5, 2);
    assert_eq!(batches.by_ref().take(7).count(), 7);
    let position = Batches::position(&batches);
    let mut restored = numbered(23, 5, 2);
    Batches::seek(&mut restored, &position).unwrap();
    assert_eq!(
        values(&batches.next_batch().unwrap()),
        values(&restored.next_batch().unwrap())
    );
    for mut other in [numbered(24, 5, 2), numbered(23, 4, 2), numbered(23, 5, 3)] {
        assert!(Batches::seek(&mut other, &position).is_err());
        assert_eq!(other.position(), Position::default());
    }
    let beyond = position.into_iter().map(|(name, value)| match name.as_str() {
        "row" => (name, 23),
        _ => (name, value),
    });
    assert!(Batches::seek(&mut restored, &beyond.collect()).is_err());
}

#[test]
fn the_six_orders_of_three_rows_are_equally_likely() {
    let mut counts = std::collections::BTreeMap::new();
    for epoch in 0..6000 {
        *counts.entry(order(3, 3, epoch)).or_insert(0_u32) += 1;
    }
    // Standard deviation of a count: √(6000 · 5/36) = 29. Five of them.
    assert!(
        counts.len() == 6 && counts.values().all(|count| count.abs_diff(1000) < 145),
        "{counts:?}"
    );
}

#[test]
fn a_batch_above_the_number_of_rows_is_an_epoch_and_one_of_nothing_is_refused() {
    let mut batches = numbered(3, usize::MAX, 4);
    assert_eq!(values(&batches.next_batch().unwrap()).len(), 3);
    assert_eq!(batches.position().epoch, 1);
    let data = TensorDataset::new(&Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
    assert!(matches!(Shuffled::new(data, 0, 1), Err(Error::Parameter { .. })));
}

#[derive(Debug)]
struct Countless(usize);

impl Rows for Countless {
    fn rows(&self) -> usize {
        self.0
    }

    fn gather(&self, _rows: &[u32], _rng: &mut dyn RngCore) -> tallow_denoisers::Result<Batch> {
        Err(tallow_denoisers::Error::EmptyBatch { what: "nothing" })
    }
}

#[test]
fn no_rows_and_too_many_are_refused() {
    assert!(matches!(
        Shuffled::new(Countless(0), 1, 1),
        Err(Error::Empty { .. })
    ));
    let many = Shuffled::new(Countless(usize::MAX), 1, 1);
    assert!(matches!(many, Err(Error::TooManyRows { rows: usize::MAX })));
}

#[test]
fn without_partial_batches_all_are_of_one_size_and_each_epoch_leaves_out_others() {
    let batches = |rows, batch| numbered(rows, batch, 5).with_last_batch(LastBatch::Dropped);
    let mut whole = batches(23, 5).unwrap();
    assert_eq!(whole.batches_per_epoch(), 4);
    let mut epoch = || {
        let mut rows: Vec<f32> = Vec::new();
        for batch in whole.by_ref().take(4) {
            let batch = values(&batch.unwrap());
            assert_eq!(batch.len(), 5);
            rows.extend(batch);
        }
        rows.sort_by(f32::total_cmp);
        rows.dedup();
        assert_eq!(rows.len(), 20);
        rows
    };
    assert_ne!(epoch(), epoch());
    assert_eq!(whole.position(), Position { epoch: 2, row: 0 });
    assert!(whole.seek(Position { epoch: 0, row: 20 }).is_err());
    assert!(batches(5, 5).is_ok() && batches(4, 5).is_err());
    // A place among all rows is none among whole batches.
    let place = Batches::position(&numbered(23, 5, 5));
    assert!(Batches::seek(&mut whole, &place).is_err());
}
