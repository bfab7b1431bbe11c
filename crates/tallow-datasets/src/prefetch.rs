//! The next batch, made while this one is trained on.
//!
//! One thread makes batches in their order and waits when one is made and another lies ready. A batch travels with the place
//! behind it, so that [`Batches::position`] tells where the reader is, not where the thread has got to.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use tallow_denoisers::{Batch, Batches, Error, Result};

type Place = BTreeMap<String, u128>;
type Made = (Result<Batch>, Place);

/// [`Batches`] of another kind, made ahead by a thread: the same batches in the same order, and the same places.
///
/// ```
/// use tallow_datasets::{Batches, Images, Prefetch, Shuffled};
///
/// let batches = || Shuffled::new(Images::digits()?, 64, 1);
/// let (mut direct, mut ahead) = (batches()?, Prefetch::new(batches()?)?);
/// for _ in 0..3 {
///     let (a, b) = (direct.next_batch()?.x0, ahead.next_batch()?.x0);
///     assert_eq!(a.flatten_all()?.to_vec1::<f32>()?, b.flatten_all()?.to_vec1::<f32>()?);
///     assert_eq!(Batches::position(&direct), ahead.position());
/// }
/// # Ok::<(), tallow_datasets::Error>(())
/// ```
#[derive(Debug)]
pub struct Prefetch<B: Batches + 'static> {
    /// Where the next batch starts.
    place: Place,
    worker: Option<Worker<B>>,
}

#[derive(Debug)]
struct Worker<B> {
    made: Receiver<Made>,
    thread: JoinHandle<B>,
}

/// What is said once the thread is gone.
const GONE: &str = "the thread that prefetched batches panicked: make the batches anew";

impl<B: Batches + 'static> Prefetch<B> {
    /// Starts to make the batches of `batches` from where it is.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn new(batches: B) -> Result<Self> {
        let place = batches.position();
        let worker = Some(Worker::start(batches)?);
        Ok(Self { place, worker })
    }
}

impl<B: Batches + 'static> Worker<B> {
    fn start(mut batches: B) -> Result<Self> {
        let (send, made) = sync_channel::<Made>(1);
        let work = move || {
            loop {
                let batch = batches.next_batch();
                if send.send((batch, batches.position())).is_err() {
                    return batches;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("prefetch".to_owned())
            .spawn(work);
        let thread = thread.map_err(|error| Error::User(Box::new(error)))?;
        Ok(Self { made, thread })
    }

    /// Ends the thread after the batch that it is at, and takes back what it made them of.
    fn stop(self) -> Result<B> {
        drop(self.made);
        self.thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Error::User(format!("{GONE} ({})", text.unwrap_or_else(|| "no message".to_owned())).into())
        })
    }
}

impl<B: Batches + 'static> Batches for Prefetch<B> {
    fn next_batch(&mut self) -> Result<Batch> {
        let Some(worker) = &self.worker else {
            return Err(Error::User(GONE.into()));
        };
        if let Ok((batch, place)) = worker.made.recv() {
            self.place = place;
            return batch;
        }
        let stopped = self.worker.take().map(Worker::stop);
        Err(stopped
            .and_then(Result::err)
            .unwrap_or_else(|| Error::User(GONE.into())))
    }

    fn position(&self) -> Place {
        self.place.clone()
    }

    fn seek(&mut self, position: &Place) -> Result<()> {
        let Some(worker) = self.worker.take() else {
            return Err(Error::User(GONE.into()));
        };
        let mut batches = worker.stop()?;
        let sought = batches.seek(position);
        if sought.is_err() {
            // The thread is ahead of the reader, whose place must stay what it was.
            batches.seek(&self.place)?;
        }
        self.place = batches.position();
        self.worker = Some(Worker::start(batches)?);
        sought
    }
}

impl<B: Batches + 'static> Drop for Prefetch<B> {
    fn drop(&mut self) {
        // A panic of the thread has nobody left to tell.
        let _ = self.worker.take().map(Worker::stop);
    }
}

#[cfg(test)]
#[path = "prefetch_tests.rs"]
mod tests;
