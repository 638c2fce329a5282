//! A cache of single records in front of an engine.
//!
//! A lookup in the engine searches tables, filters, an index and a block; here it is one look into a hash table. It holds
//! newest versions that were read by key, and only those: scans go past it, and what was never read is not kept.
//!
//! **What it answers is what the engine would.** A reader that does not find its key reads the engine and then puts the record
//! here only if no write to a key of the same stripe has ended meanwhile; a write changes what is here after the engine, and
//! before it returns. So whoever has seen a write end reads it, and whoever reads while it is under way sees the one or the
//! other, as with the engine alone. Writers of one key take turns (each shard applies one group of entries at a time).

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;

use super::{Batch, BatchOp, Cursor, Engine, Family, GcThresholds, Reads};
use crate::error::Result;

/// Stripes, so that sessions on several cores hardly meet at one mutex.
const STRIPES: usize = 64;
/// Longer records are left to the engine, whose blocks hold them as well.
const RECORD_BYTES_MAX: usize = 2 * 1024;
/// What a record costs beside its bytes: its counts, its slot and its place in the table.
const OVERHEAD_BYTES: usize = 56;

/// A key and its record, one behind the other.
struct Slot {
    bytes: Arc<[u8]>,
    key_bytes: u16,
    /// It was read since the hand last came by.
    used: bool,
}

impl Slot {
    fn key(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.key_bytes)).unwrap_or_default()
    }

    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD_BYTES
    }
}

#[derive(Default)]
struct Stripe {
    /// Positions in `slots`.
    table: HashTable<u32>,
    slots: Vec<Slot>,
    /// Where the search for something to give up goes on.
    hand: usize,
    bytes: usize,
    /// Writes to keys of the stripe that have ended.
    writes: u64,
    /// Lookups that found their key here, and that did not.
    hits: u64,
    misses: u64,
}

impl Stripe {
    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_key = |at: &u32| self.slots.get(*at as usize).is_some_and(|slot| slot.key() == key);
        self.table.find(hash, is_key).map(|at| *at as usize)
    }

    fn remove(&mut self, at: usize, hasher: &RandomState) {
        let hash_at = |slots: &[Slot], at: usize| slots.get(at).map_or(0, |slot| hasher.hash_one(slot.key()));
        let (hash, last) = (hash_at(&self.slots, at), self.slots.len() - 1);
        if let Ok(entry) = self.table.find_entry(hash, |place| *place as usize == at) {
            entry.remove();
        }
        if last != at {
            // The last one takes its place.
            let hash = hash_at(&self.slots, last);
            if let Some(place) = self.table.find_mut(hash, |place| *place as usize == last) {
                *place = at as u32;
            }
        }
        self.bytes -= self.slots.swap_remove(at).cost();
    }

    fn insert(&mut self, hash: u64, slot: Slot, hasher: &RandomState, bytes_max: usize) {
        let cost = slot.cost();
        while self.bytes + cost > bytes_max && !self.slots.is_empty() {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            match self.slots.get_mut(self.hand) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.hand += 1;
                }
                // The one that takes its place is looked at next.
                _ => self.remove(self.hand, hasher),
            }
        }
        let Ok(at) = u32::try_from(self.slots.len()) else { return };
        if self.bytes + cost > bytes_max {
            return;
        }
        self.bytes += cost;
        self.slots.push(slot);
        let slots = &self.slots;
        let hash_of = |at: &u32| slots.get(*at as usize).map_or(0, |slot| hasher.hash_one(slot.key()));
        self.table.insert_unique(hash, at, hash_of);
    }
}

/// How a cache of single records is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCacheUse {
    /// Records in it.
    pub records: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Most bytes that they may take.
    pub capacity_bytes: u64,
    /// Lookups since the start that found their key.
    pub hits: u64,
    /// Those that did not.
    pub misses: u64,
}

/// An engine with a cache of its newest versions.
pub struct CachedEngine<E> {
    engine: E,
    hasher: RandomState,
    stripes: Vec<Mutex<Stripe>>,
    stripe_bytes_max: usize,
}

impl<E: Engine> CachedEngine<E> {
    /// An engine with a cache of `bytes` bytes; none with 0.
    pub fn new(engine: E, bytes: usize) -> CachedEngine<E> {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        CachedEngine { engine, hasher: RandomState::default(), stripes, stripe_bytes_max: bytes / STRIPES }
    }

    /// The engine below.
    pub fn below(&self) -> &E {
        &self.engine
    }

    fn stripe(&self, hash: u64) -> &Mutex<Stripe> {
        // The table takes its place from the lowest bits and its tags from the highest.
        &self.stripes[(hash >> 32) as usize % STRIPES]
    }

    /// A write to the key has ended: what is here follows.
    fn follow(&self, key: &[u8], record: Option<&[u8]>) {
        let hash = self.hasher.hash_one(key);
        let mut stripe = self.stripe(hash).lock();
        stripe.writes += 1;
        let Some(at) = stripe.find(hash, key) else { return };
        stripe.remove(at, &self.hasher);
        if let Some(slot) = record.and_then(|record| slot_of(key, record)) {
            stripe.insert(hash, slot, &self.hasher, self.stripe_bytes_max);
        }
    }

    fn forget_all(&self) {
        for stripe in &self.stripes {
            let mut stripe = stripe.lock();
            let (hits, misses) = (stripe.hits, stripe.misses);
            *stripe = Stripe { writes: stripe.writes + 1, hits, misses, ..Stripe::default() };
        }
    }
}

/// A slot for a record, unless it is too long.
fn slot_of(key: &[u8], record: &[u8]) -> Option<Slot> {
    if key.len() + record.len() > RECORD_BYTES_MAX {
        return None;
    }
    Some(Slot { bytes: [key, record].concat().into(), key_bytes: u16::try_from(key.len()).ok()?, used: false })
}

impl<E: Engine> Reads for CachedEngine<E> {
    fn get(&self, family: Family, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        if family != Family::Latest || self.stripe_bytes_max == 0 {
            return self.engine.get(family, key, visit);
        }
        let hash = self.hasher.hash_one(key);
        let stripe = self.stripe(hash);
        let writes = {
            let mut stripe = stripe.lock();
            match stripe.find(hash, key) {
                None => {
                    stripe.misses += 1;
                    stripe.writes
                }
                Some(at) => {
                    stripe.hits += 1;
                    let slot = &mut stripe.slots[at];
                    slot.used = true;
                    let bytes = Arc::clone(&slot.bytes);
                    // Whoever visits may come back for another key.
                    drop(stripe);
                    visit(bytes.get(key.len()..));
                    return Ok(());
                }
            }
        };
        let mut slot = None;
        self.engine.get(family, key, &mut |record| {
            slot = record.and_then(|record| slot_of(key, record));
            visit(record);
        })?;
        if let Some(slot) = slot {
            let mut stripe = stripe.lock();
            if stripe.writes == writes && stripe.find(hash, key).is_none() {
                stripe.insert(hash, slot, &self.hasher, self.stripe_bytes_max);
            }
        }
        Ok(())
    }

    fn cursor<'a>(&'a self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        self.engine.cursor(family, start, end)
    }
}

impl<E: Engine> Engine for CachedEngine<E> {
    fn view<'a>(&'a self) -> Box<dyn Reads + 'a> {
        self.engine.view()
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        let written = self.engine.write(batch);
        // Also after a failure: what became of the batch is not known then.
        for (family, operation) in batch.operations() {
            match operation {
                _ if family != Family::Latest => {}
                BatchOp::Put(key, record) => self.follow(key, written.is_ok().then_some(record)),
                BatchOp::Delete(key) => self.follow(key, None),
                BatchOp::DeleteRange(..) => self.forget_all(),
            }
        }
        written
    }

    fn flush(&self) -> Result<()> {
        self.engine.flush()
    }

    fn get_flushed(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.engine.get_flushed(family, key)
    }

    fn approximate_bytes(&self, family: Family, start: &[u8], end: &[u8]) -> u64 {
        self.engine.approximate_bytes(family, start, end)
    }

    fn compact(&self, family: Family, start: &[u8], end: &[u8]) {
        self.engine.compact(family, start, end);
    }

    fn gc(&self) -> &GcThresholds {
        self.engine.gc()
    }

    fn row_cache(&self) -> RowCacheUse {
        let mut total =
            RowCacheUse { capacity_bytes: (self.stripe_bytes_max * STRIPES) as u64, ..RowCacheUse::default() };
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            total.records += stripe.slots.len() as u64;
            total.bytes += stripe.bytes as u64;
            total.hits += stripe.hits;
            total.misses += stripe.misses;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::MemoryEngine;
    use super::*;

    fn put(engine: &dyn Engine, key: &[u8], value: &[u8]) {
        let mut batch = Batch::new();
        batch.put(Family::Latest, key, value);
        engine.write(&batch).unwrap();
    }

    fn held(engine: &CachedEngine<MemoryEngine>) -> (usize, usize) {
        let stripes = engine.stripes.iter().map(|stripe| stripe.lock());
        stripes.fold((0, 0), |(slots, bytes), stripe| {
            assert_eq!(stripe.slots.len(), stripe.table.len());
            assert_eq!(stripe.slots.iter().map(Slot::cost).sum::<usize>(), stripe.bytes);
            (slots + stripe.slots.len(), bytes + stripe.bytes)
        })
    }

    #[test]
    fn answers_as_the_engine_does() {
        let mut random = StdRng::seed_from_u64(1);
        // So small that most records are given up again.
        let engine = CachedEngine::new(MemoryEngine::new(), STRIPES * 300);
        for _ in 0..50_000 {
            let key = random.random_range(0..500u32).to_be_bytes();
            match random.random_range(0..10_000) {
                0..6_000 => {
                    let expected = engine.below().get_copy(Family::Latest, &key).unwrap();
                    assert_eq!(engine.get_copy(Family::Latest, &key).unwrap(), expected);
                }
                6_000..9_000 => {
                    let length = [1, 40, 100, RECORD_BYTES_MAX + 1][random.random_range(0..4)];
                    put(&engine, &key, &vec![random.random(); length]);
                }
                9_000..9_990 => {
                    let mut batch = Batch::new();
                    batch.delete(Family::Latest, &key);
                    // Another family's key is another one.
                    batch.put(Family::History, &key, b"old");
                    engine.write(&batch).unwrap();
                }
                _ => {
                    let mut batch = Batch::new();
                    batch.delete_range(Family::Latest, &key, &(u32::from_be_bytes(key) + 50).to_be_bytes());
                    engine.write(&batch).unwrap();
                }
            }
        }
        let (slots, bytes) = held(&engine);
        let used = engine.row_cache();
        assert_eq!((used.records, used.bytes), (slots as u64, bytes as u64));
        assert_eq!(used.capacity_bytes, STRIPES as u64 * 300);
        assert!(used.hits > 1_000 && used.misses > 1_000, "{used:?}");
        assert!(slots > 20 && bytes <= STRIPES * 300, "{slots} {bytes}");
    }

    #[test]
    fn what_is_read_again_stays() {
        let engine = CachedEngine::new(MemoryEngine::new(), STRIPES * 1_000);
        for key in 0..10_000u32 {
            put(&engine, &key.to_be_bytes(), b"0123456789");
        }
        assert_eq!(held(&engine).0, 0, "writes alone fill nothing");
        let read = |key: u32| engine.get_copy(Family::Latest, &key.to_be_bytes()).unwrap().unwrap();
        for key in 100..10_000 {
            read(key);
            read(key % 100);
        }
        let hot = |key: &u32| {
            let hash = engine.hasher.hash_one(&key.to_be_bytes()[..]);
            engine.stripe(hash).lock().find(hash, &key.to_be_bytes()).is_some()
        };
        assert!((0..100).filter(hot).count() > 95);
    }

    #[test]
    fn a_write_that_has_ended_is_read() {
        const KEYS: usize = 4;
        const ROUNDS: u64 = 20_000;
        let engine = CachedEngine::new(MemoryEngine::new(), STRIPES * 1_000);
        let ended: [AtomicU64; KEYS] = Default::default();
        let done = AtomicBool::new(false);
        let key = |at: usize| [at as u8; 8];
        (0..KEYS).for_each(|at| put(&engine, &key(at), &0u64.to_be_bytes()));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut at = 0;
                    while !done.load(Ordering::Relaxed) {
                        at = (at + 1) % KEYS;
                        let before = ended[at].load(Ordering::SeqCst);
                        let found = engine.get_copy(Family::Latest, &key(at)).unwrap().unwrap();
                        let found = u64::from_be_bytes(found.try_into().unwrap());
                        assert!(found >= before, "read {found} after {before} was written");
                    }
                });
            }
            for round in 1..ROUNDS {
                for (at, ended) in ended.iter().enumerate() {
                    put(&engine, &key(at), &round.to_be_bytes());
                    ended.store(round, Ordering::SeqCst);
                    // So that it has to be fetched anew now and then.
                    if round % 7 == 0 {
                        engine.forget_all();
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
