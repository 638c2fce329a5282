//! A bounded map for what can be made again: when it is full, an entry that was not used lately makes room (the clock, or
//! second-chance, policy: nearly an LRU, with no list to keep in order on every read).

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    /// Where each key's slot is.
    places: HashMap<K, usize>,
    slots: Vec<Slot<K, V>>,
    /// The slot that is looked at next when room is needed.
    hand: usize,
    /// Most entries; at least one.
    max: usize,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    /// Since the hand passed last.
    used: bool,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    /// An empty cache that keeps up to `max` entries.
    pub fn new(max: usize) -> Self {
        Cache { places: HashMap::new(), slots: Vec::new(), hand: 0, max: max.max(1) }
    }

    /// The value of a key, if it is still there.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let slot = &mut self.slots[*self.places.get(key)?];
        slot.used = true;
        Some(&slot.value)
    }

    /// Keeps a value, in place of the key's earlier one or, when full, of one that was not used lately, and gives that one back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let slot = Slot { key: key.clone(), value, used: false };
        if let Some(place) = self.places.get(&key) {
            return Some(std::mem::replace(&mut self.slots[*place], slot).value);
        }
        let gone = if self.slots.len() < self.max { None } else { self.pop() };
        // The turn of the one that comes is the last, or it would be the next to go.
        if gone.is_some() && self.hand == self.slots.len() {
            self.hand += 1;
        }
        self.places.insert(key, self.slots.len());
        self.slots.push(slot);
        gone
    }

    /// Takes out a value that was not used lately.
    pub fn pop(&mut self) -> Option<V> {
        if self.slots.is_empty() {
            return None;
        }
        self.hand %= self.slots.len();
        // Ends within one round and a step: the hand takes away every mark that it passes.
        while std::mem::take(&mut self.slots[self.hand].used) {
            self.hand = (self.hand + 1) % self.slots.len();
        }
        // The last one comes into its place, behind the hand.
        let gone = self.slots.swap_remove(self.hand);
        self.places.remove(&gone.key);
        if let Some(moved) = self.slots.get(self.hand) {
            self.places.insert(moved.key.clone(), self.hand);
            self.hand += 1;
        }
        Some(gone.value)
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;

    #[test]
    fn what_is_used_stays_when_others_come() {
        let mut cache = Cache::new(4);
        for n in 0..4 {
            cache.insert(n, n * 10);
        }
        for n in 4..100 {
            assert_eq!(cache.get(&0), Some(&0), "the entry in use fell out when {n} came");
            cache.insert(n, n * 10);
        }
        assert_eq!(cache.get(&99), Some(&990));
        assert_eq!((cache.places.len(), cache.slots.len()), (4, 4));
        assert_eq!(cache.get(&4), None);
    }

    #[test]
    fn a_cache_in_full_use_still_takes_new_entries() {
        let mut cache = Cache::new(3);
        for n in 0..3 {
            cache.insert(n, n);
            cache.get(&n);
        }
        cache.insert(3, 3);
        assert_eq!(cache.get(&3), Some(&3));
        assert_eq!((0..3).filter(|n| cache.get(n).is_some()).count(), 2);
    }

    #[test]
    fn all_can_be_taken_out() {
        let mut cache = Cache::new(5);
        for n in 0..5 {
            cache.insert(n, n);
        }
        cache.get(&2);
        let gone: Vec<i32> = std::iter::from_fn(|| cache.pop()).collect();
        assert_eq!(gone.last(), Some(&2), "what was used goes last: {gone:?}");
        assert_eq!((gone.len(), cache.places.len()), (5, 0));
        cache.insert(7, 7);
        assert_eq!(cache.get(&7), Some(&7));
    }

    #[test]
    fn a_key_has_one_value() {
        let mut cache = Cache::new(2);
        assert_eq!(cache.insert("a".to_owned(), 1), None);
        assert_eq!(cache.insert("a".to_owned(), 2), Some(1));
        assert_eq!(cache.get("a"), Some(&2));
        assert_eq!(cache.slots.len(), 1);
    }
}
