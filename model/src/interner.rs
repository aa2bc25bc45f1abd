//! One allocation for what many objects say in the same words: the names of nodes and zones, topology hints.

use std::{collections::HashSet, hash::Hash, sync::Arc};

/// The words that are in use. Those that nobody uses any more go when as many new ones have come.
#[derive(Debug)]
pub(crate) struct Interner<T: ?Sized> {
    known: HashSet<Arc<T>>,
    prune_at: usize,
}

/// Fewer are not worth a look.
const FEW: usize = 64;

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Self { known: HashSet::new(), prune_at: FEW }
    }
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    /// The word that all others with the same content have.
    pub(crate) fn intern(&mut self, word: Arc<T>) -> Arc<T> {
        if let Some(known) = self.known.get(&word) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.prune_at {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.prune_at = FEW.max(2 * self.known.len());
        }
        self.known.insert(Arc::clone(&word));
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_are_one_and_unused_ones_go() {
        let mut words = Interner::<str>::default();
        let kept = words.intern("n1".into());
        assert!(Arc::ptr_eq(&kept, &words.intern("n1".into())));
        for n in 0..1_000 {
            words.intern(format!("gone-{n}").into());
        }
        assert!(words.known.len() <= FEW, "{}", words.known.len());
        assert!(Arc::ptr_eq(&kept, &words.intern("n1".into())));
    }
}
