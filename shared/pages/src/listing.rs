//! Lists that are cut at a bound and say so.

use crate::words;

/// The most that one list of a page may show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Rows.
    pub(crate) rows: usize,
    /// Bytes, of the texts once they are escaped and of the markup around them.
    pub(crate) bytes: usize,
}

/// Some rows, and how many more there are.
#[derive(Debug)]
pub(crate) struct Listing<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) more: u64,
}

impl<T> Listing<T> {
    /// As many of `all` as there is room for. `bytes` says how large a row is once it is written;
    /// `total` is how many there are, where that is more than `all` holds.
    pub(crate) fn of(
        all: impl IntoIterator<Item = T>,
        total: u64,
        room: Room,
        bytes: impl Fn(&T) -> usize,
    ) -> Self {
        let (mut rows, mut seen, mut used) = (Vec::new(), 0, 0_usize);
        let mut is_full = false;
        for row in all {
            seen += 1;
            used = used.saturating_add(bytes(&row));
            is_full |= rows.len() == room.rows || used > room.bytes;
            if !is_full {
                rows.push(row);
            }
        }
        let more = total.max(seen).saturating_sub(rows.len() as u64);
        Self { rows, more }
    }

    /// What is left out, in words; empty when nothing is.
    pub(crate) fn note(&self) -> String {
        match self.more {
            0 => String::new(),
            1 => "1 more is not listed.".to_owned(),
            more => format!("{} more are not listed.", words::count(more)),
        }
    }

    /// How many there are, shown or not.
    pub(crate) fn total(&self) -> u64 {
        self.more.saturating_add(self.rows.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_never_outgrows_its_room_and_counts_what_it_leaves_out(
            sizes in prop::collection::vec(0..50_usize, 0..100),
            rows in 0..60_usize,
            bytes in 0..1_000_usize,
            unlisted in 0..5_u64,
        ) {
            let total = sizes.len() as u64 + unlisted;
            let listing = Listing::of(sizes.clone(), total, Room { rows, bytes }, |size| *size);
            prop_assert!(listing.rows.len() <= rows);
            prop_assert!(listing.rows.iter().sum::<usize>() <= bytes);
            prop_assert_eq!(listing.total(), total);
            prop_assert!(sizes.starts_with(&listing.rows));
        }
    }
}
