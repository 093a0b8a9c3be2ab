//! All releases of all cells by all contenders, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::cells::Cell;
use super::deciders::Contender;
use super::random::Random;
use super::release::carry_out;
use super::tally::Tally;

/// What every figure follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The seed of all.
    pub seed: u64,
    /// Releases of each cell by each contender.
    pub releases: u32,
}

/// What each contender made of each cell: `tallies[cell][contender]`.
pub fn play(plan: Plan, cells: &[Cell], contenders: &[Contender]) -> Vec<Vec<Tally>> {
    let pairs = cells.len() * contenders.len();
    let tallies = on_all_cores(pairs, |pair| {
        let (cell, contender) = (pair / contenders.len(), pair % contenders.len());
        tally(plan, &cells[cell], contenders[contender])
    });
    let mut tallies = tallies.into_iter();
    let mut row = || tallies.by_ref().take(contenders.len()).collect();
    cells.iter().map(|_| row()).collect()
}

/// All releases of one cell by one contender.
pub fn tally(plan: Plan, cell: &Cell, contender: Contender) -> Tally {
    let outcomes: Vec<_> = seeds(plan, &cell.name)
        .map(|seed| {
            let mut decider = contender.begin(&cell.scenario, seed);
            carry_out(decider.as_mut(), &cell.scenario, seed)
        })
        .collect();
    Tally::of(&outcomes)
}

/// A seed for each release of the cell of this name.
pub fn seeds(plan: Plan, name: &str) -> impl Iterator<Item = u64> {
    let letters: Vec<u64> = name.bytes().map(u64::from).collect();
    let cell = Random::named(&letters).bits();
    (0..plan.releases).map(move |release| Random::named(&[plan.seed, cell, release.into()]).bits())
}

/// `work(0)` to `work(count - 1)`, in this order, whatever core did which.
pub fn on_all_cores<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, work(number)));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|done| done.expect("a simulation does not panic"))
            .collect()
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::cells;

    #[test]
    fn work_comes_back_in_order() {
        assert_eq!(
            on_all_cores(100, |n| 2 * n),
            (0..200).step_by(2).collect::<Vec<_>>()
        );
        assert!(on_all_cores(0, |n| n).is_empty());
    }

    #[test]
    fn the_same_seed_gives_the_same_and_another_seed_another() {
        let cells = &cells::bad()[4..6];
        let play = |seed| {
            let plan = Plan { seed, releases: 20 };
            play(plan, cells, &Contender::MAIN)
        };
        assert_eq!(play(1), play(1));
        assert_ne!(play(1), play(2));
    }

    #[test]
    fn a_cell_gives_the_same_whoever_else_plays() {
        let plan = Plan {
            seed: 1,
            releases: 20,
        };
        let cells = cells::good();
        let all = play(plan, &cells[..3], &Contender::MAIN);
        assert_eq!(all[2][1], tally(plan, &cells[2], Contender::MAIN[1]));
    }
}
