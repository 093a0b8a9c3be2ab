//! Penstock's judge against those who decide otherwise: good and bad versions, simulated in closed
//! loop with fixed seeds, and what the judge itself costs.

use std::num::NonZeroU32;
use std::time::Instant;

use bench::judge::cells;
use bench::judge::deciders::Contender;
use bench::judge::goals::Evidence;
use bench::judge::tables::{self, Results};
use bench::judge::tournament::{Plan, play};
use bench::judge::{limit, tally::Tally};
use clap::Parser;

/// The contenders of the cells with clusters.
const CLUSTERS: [Contender; 8] = [
    Contender::Penstock,
    Contender::PenstockToldClusters,
    Contender::PenstockRobust,
    Contender::Kayenta,
    Contender::Flagger,
    Contender::Argo,
    Contender::AlarmOnRate,
    Contender::AlarmOnErrors,
];

/// The contenders of the cells with little traffic.
const LITTLE: [Contender; 7] = [
    Contender::Penstock,
    Contender::PenstockGoesOn,
    Contender::Kayenta,
    Contender::Flagger,
    Contender::Argo,
    Contender::AlarmOnRate,
    Contender::AlarmOnErrors,
];

/// Bad versions are told from good ones by means, not by rare events: fewer releases will do.
const GOOD_FOR_EACH_BAD: u32 = 4;

/// Simulate releases by Penstock's judge and its rivals, and print what came of them.
#[derive(Debug, Parser)]
struct Arguments {
    /// Releases of each good version by each contender; of each bad one a quarter.
    #[arg(long, default_value = "4000")]
    releases: NonZeroU32,
    /// The seed that everything follows from.
    #[arg(long, default_value = "1")]
    seed: u64,
}

fn main() {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let many = Plan {
        seed: arguments.seed,
        releases: arguments.releases.get(),
    };
    let some = Plan {
        releases: many.releases.div_ceil(GOOD_FOR_EACH_BAD),
        ..many
    };
    println!(
        "seed {}; {} releases of each good version by each contender, {} of each bad one\n",
        many.seed, many.releases, some.releases
    );
    let good = results(many, cells::good(), Contender::MAIN);
    print_good(&good);
    let bad = results(some, cells::bad(), Contender::MAIN);
    print_bad(&bad);
    print_special(some);
    let cases = limit::cases();
    let needed = limit::measure(some, &cases);
    println!("REQUESTS UNTIL THE ROLLBACK AT A FIXED WEIGHT, as a multiple of ln(1/alpha) / KL");
    println!("{}", tables::limit(&cases, &needed));
    let evidence = Evidence {
        good: &good.cells,
        tallies: &good.of(Contender::Penstock),
        needed: &needed,
    };
    println!("GOALS\n{}", tables::goals(&evidence.goals()));
    println!("{:.0} s", began.elapsed().as_secs_f64());
}

fn results<const N: usize>(
    plan: Plan,
    cells: Vec<cells::Cell>,
    contenders: [Contender; N],
) -> Results<N> {
    Results {
        tallies: play(plan, &cells, &contenders),
        cells,
        contenders,
    }
}

fn print_good(good: &Results<7>) {
    println!("GOOD VERSIONS ROLLED BACK, %");
    println!("{}", good.table_with_sum::<8>(tables::percent));
    println!("GOOD VERSIONS AT 100 %, MINUTES, median / p90, 30 are planned");
    println!("{}", good.table::<8>(tables::minutes));
}

fn print_bad(bad: &Results<7>) {
    println!("BAD VERSIONS ROLLED BACK, %");
    let found = |tally: &Tally| tables::percent(tally.rolled_back());
    println!("{}", bad.table::<8>(found));
    println!("REQUESTS SERVED BY THE BAD VERSION, median / p90");
    println!("{}", bad.table::<8>(tables::exposed));
}

fn print_special(plan: Plan) {
    let clustered = results(plan, cells::clustered(), CLUSTERS);
    println!("ERRORS IN CLUSTERS OF TEN, rolled back, %");
    println!(
        "{}",
        clustered.table::<9>(|tally| tables::percent(tally.rolled_back()))
    );
    let little = results(plan, cells::little_traffic(), LITTLE);
    println!("LITTLE TRAFFIC, promoted / rolled back / given up for want of requests, %");
    println!("{}", little.table::<8>(tables::endings));
}
