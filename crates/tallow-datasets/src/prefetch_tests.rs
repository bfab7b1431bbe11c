use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::{Flips, Images, Shuffled};

fn digits() -> Shuffled<Images> {
    let digits = Images::digits().unwrap().with_flips(Flips::Half);
    Shuffled::new(digits, 500, 3).unwrap()
}

fn bits(batch: &Batch) -> (Vec<u32>, Vec<u32>) {
    let values: Vec<f32> = batch.x0.flatten_all().unwrap().to_vec1().unwrap();
    let labels = batch.condition.tensor("labels").unwrap().to_vec1().unwrap();
    (values.into_iter().map(f32::to_bits).collect(), labels)
}

#[test]
fn batches_made_ahead_are_those_made_on_the_spot_and_so_are_the_places() {
    let (mut direct, mut ahead) = (digits(), Prefetch::new(digits()).unwrap());
    for _ in 0..9 {
        assert_eq!(Batches::position(&direct), ahead.position());
        assert_eq!(
            bits(&direct.next_batch().unwrap()),
            bits(&ahead.next_batch().unwrap())
        );
    }
}

#[test]
fn a_place_is_found_again_and_a_wrong_one_leaves_the_reader_where_it_is() {
    let mut ahead = Prefetch::new(digits()).unwrap();
    (0..3).for_each(|_| drop(ahead.next_batch().unwrap()));
    let place = ahead.position();
    let next = bits(&ahead.next_batch().unwrap());
    let mut other = Prefetch::new(digits()).unwrap();
    other.seek(&place).unwrap();
    assert_eq!(other.position(), place);
    // Of other data: the thread was ahead, the reader stays.
    let mut elsewhere = place.clone();
    elsewhere.insert("seed".to_owned(), 4);
    assert!(matches!(other.seek(&elsewhere), Err(Error::Position { .. })));
    assert_eq!(other.position(), place);
    assert_eq!(bits(&other.next_batch().unwrap()), next);
}

/// Counts how many of it were dropped; fails at batch 2 and panics at batch 4.
#[derive(Debug)]
struct Frail {
    made: u128,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Frail {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

fn burn(made: u128) {
    assert_ne!(made, 5, "the disk is on fire");
}

impl Batches for Frail {
    fn next_batch(&mut self) -> Result<Batch> {
        self.made += 1;
        burn(self.made);
        match self.made {
            3 => Err(Error::EmptyBatch { what: "batch 2" }),
            _ => Ok(Batch::new(Tensor::zeros(1, DType::F32, &Device::Cpu)?)),
        }
    }

    fn position(&self) -> Place {
        Place::from([("made".to_owned(), self.made)])
    }

    fn seek(&mut self, _position: &Place) -> Result<()> {
        Ok(())
    }
}

#[test]
fn errors_come_in_their_place_and_a_panic_becomes_one() {
    let dropped = Arc::<AtomicUsize>::default();
    let frail = Frail {
        made: 0,
        dropped: dropped.clone(),
    };
    let mut ahead = Prefetch::new(frail).unwrap();
    let outcomes: Vec<bool> = (0..4).map(|_| ahead.next_batch().is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, true]);
    let message = ahead.next_batch().unwrap_err().to_string();
    assert!(message.contains("the disk is on fire"), "{message}");
    assert!(ahead.next_batch().is_err());
    assert!(ahead.seek(&Place::new()).is_err());
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn dropping_it_ends_the_thread() {
    let dropped = Arc::<AtomicUsize>::default();
    let frail = Frail {
        made: 10,
        dropped: dropped.clone(),
    };
    drop(Prefetch::new(frail).unwrap());
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}
