//! Everything that could go otherwise, as one sequence of numbers: a search goes through all
//! sequences, a simulation draws one, and a failing one is shortened, by the same code.

/// One sequence of choices, followed as far as it is given. Choice 0 is always the harmless one.
#[derive(Debug)]
pub struct Choices {
    given: Vec<u32>,
    taken: Vec<Taken>,
    random: Option<fastrand::Rng>,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    chosen: u32,
    of: u32,
}

impl Choices {
    /// These choices, and the harmless one ever after.
    pub fn given(given: Vec<u32>) -> Self {
        Self {
            given,
            taken: Vec::new(),
            random: None,
        }
    }

    /// Choices drawn by lot; the same ones for the same seed.
    pub fn random(seed: u64) -> Self {
        Self {
            random: Some(fastrand::Rng::with_seed(seed)),
            ..Self::given(Vec::new())
        }
    }

    /// One of `0..of`. Each is as likely as the others.
    pub fn any(&mut self, of: usize) -> usize {
        self.choose(of, 1)
    }

    /// One of `0..of`, of which another than 0 is drawn only once in `odds` times.
    pub fn rarely(&mut self, of: usize, odds: u32) -> usize {
        self.choose(of, odds)
    }

    /// Whether what is rare happens: once in `odds` times.
    pub fn seldom(&mut self, odds: u32) -> bool {
        self.choose(2, odds) == 1
    }

    fn choose(&mut self, of: usize, odds: u32) -> usize {
        let of = u32::try_from(of).unwrap_or(u32::MAX).max(1);
        let given = self.given.get(self.taken.len()).copied();
        let chosen = match (given, &mut self.random) {
            (Some(given), _) => given.min(of - 1),
            (None, None) => 0,
            (None, Some(random)) if odds > 1 => match random.u32(..odds) {
                0 if of > 1 => random.u32(1..of),
                _ => 0,
            },
            (None, Some(random)) => random.u32(..of),
        };
        self.taken.push(Taken { chosen, of });
        chosen as usize
    }

    /// Whether all choices that were given have been taken.
    pub fn is_on_its_own(&self) -> bool {
        self.taken.len() >= self.given.len()
    }

    /// The choices that were taken.
    pub fn taken(&self) -> Vec<u32> {
        self.taken.iter().map(|taken| taken.chosen).collect()
    }

    /// The next sequence, depth first: the last choice that could still be another one is. None once
    /// all have been taken.
    pub fn next(self) -> Option<Vec<u32>> {
        let mut taken = self.taken;
        while let Some(last) = taken.pop() {
            if last.chosen + 1 < last.of {
                let mut next: Vec<_> = taken.iter().map(|taken| taken.chosen).collect();
                next.push(last.chosen + 1);
                return Some(next);
            }
        }
        None
    }
}

/// The shortest and most harmless choices that can be found, in so many tries, that still fail.
pub fn shrink(
    choices: Vec<u32>,
    tries_max: usize,
    mut fails: impl FnMut(&[u32]) -> bool,
) -> Vec<u32> {
    let (mut best, mut tries) = (choices, 0);
    let mut chunk = best.len();
    while chunk > 0 {
        let (mut at, mut is_better) = (0, false);
        while at < best.len() {
            let end = (at + chunk).min(best.len());
            let without = [&best[..at], &best[end..]].concat();
            let mut harmless = best.clone();
            harmless[at..end].fill(0);
            let other = [without, harmless].into_iter().find(|other| {
                let is_new = *other != best && tries < tries_max;
                tries += usize::from(is_new);
                is_new && fails(other)
            });
            match other {
                Some(other) => (best, is_better) = (other, true),
                None => at = end,
            }
        }
        if !is_better {
            chunk /= 2;
        }
    }
    let used = best.iter().rposition(|choice| *choice != 0);
    best.truncate(used.map_or(0, |last| last + 1));
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_takes_every_sequence_once() {
        let (mut seen, mut next) = (Vec::new(), Some(Vec::new()));
        while let Some(given) = next {
            let mut choices = Choices::given(given);
            if choices.any(3) > 0 {
                choices.any(2);
            }
            seen.push(choices.taken());
            next = choices.next();
        }
        let all = [vec![0], vec![1, 0], vec![1, 1], vec![2, 0], vec![2, 1]];
        assert_eq!(seen, all);
    }

    #[test]
    fn the_same_seed_draws_the_same_choices() {
        let draw = |seed| {
            let mut choices = Choices::random(seed);
            (0..50).for_each(|_| _ = choices.rarely(9, 3));
            choices.taken()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn what_fails_is_shrunk_to_what_it_fails_for() {
        let fails = |choices: &[u32]| {
            let three = choices.iter().position(|choice| *choice == 3);
            three.is_some_and(|at| choices[at..].contains(&2))
        };
        let long = [vec![1; 30], vec![3], vec![1; 30], vec![2], vec![1; 9]].concat();
        assert_eq!(shrink(long, 10_000, fails), [3, 2]);
    }
}
