//! Penstock's judge against those who decide otherwise: good and bad versions, simulated in closed
//! loop with fixed seeds, and what the judge itself costs.

mod cost;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use bench::judge::cells::{self, Cell};
use bench::judge::deciders::Contender;
use bench::judge::goals::Evidence;
use bench::judge::limit::{self, Needed};
use bench::judge::plot;
use bench::judge::tables::{self, Results};
use bench::judge::tournament::{Plan, play};
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

/// Bad versions are told by common events, good ones by rare ones: fewer releases will do.
const GOOD_FOR_EACH_BAD: u32 = 4;

/// Simulate releases by Penstock's judge and its rivals, print what came of them and draw it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Releases of each good version by each contender; of each bad one a quarter.
    #[arg(long, default_value = "10000")]
    releases: NonZeroU32,
    /// The seed that everything follows from.
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Where the picture is written.
    #[arg(long, default_value = "docs/img/judge.svg", value_name = "FILE")]
    picture: PathBuf,
}

fn main() -> anyhow::Result<()> {
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
        "seed {}; {} releases of each good version by each contender, {} of each bad one, {} at each \
         fixed weight\n",
        many.seed, many.releases, some.releases, many.releases
    );
    let good = results(many, cells::good(), Contender::MAIN);
    print_good(&good);
    let bad = results(some, cells::bad(), Contender::MAIN);
    print_bad(&bad);
    print_special(some);
    let needed = limit::measure(many, &limit::cases());
    println!(
        "REQUESTS UNTIL THE ROLLBACK AT A FIXED WEIGHT, mean and median, as multiples of the limit"
    );
    println!("{}", tables::limit(&limit::cases(), &needed));
    print_goals(&good, &needed);
    print_cost()?;
    let picture = plot::draw(&plot::rows(&good, &bad));
    std::fs::write(&arguments.picture, picture)
        .with_context(|| format!("could not write {}", arguments.picture.display()))?;
    println!(
        "{} is drawn; {:.0} s",
        arguments.picture.display(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn results<const N: usize>(plan: Plan, cells: Vec<Cell>, contenders: [Contender; N]) -> Results<N> {
    Results {
        tallies: play(plan, &cells, &contenders),
        cells,
        contenders,
    }
}

fn print_good(good: &Results<8>) {
    println!("GOOD VERSIONS ROLLED BACK, %");
    println!("{}", good.table_with_sum::<9>(tables::percent));
    println!("GOOD VERSIONS GIVEN UP FOR WANT OF REQUESTS, %");
    println!("{}", good.table::<9>(tables::given_up));
    println!("GOOD VERSIONS AT 100 %, MINUTES, median / p90, 30 are planned");
    println!("{}", good.table::<9>(tables::minutes));
}

fn print_bad(bad: &Results<8>) {
    println!("BAD VERSIONS ROLLED BACK, %");
    println!("{}", bad.table::<9>(tables::rolled_back));
    println!("REQUESTS SERVED BY THE BAD VERSION, median");
    println!("{}", bad.table::<9>(tables::exposed_median));
    println!("REQUESTS SERVED BY THE BAD VERSION, p90");
    println!("{}", bad.table::<9>(tables::exposed_p90));
}

fn print_special(plan: Plan) {
    let clustered = results(plan, cells::clustered(), CLUSTERS);
    println!("ERRORS IN CLUSTERS OF TEN, rolled back, %");
    println!("{}", clustered.table::<9>(tables::rolled_back));
    let little = results(plan, cells::little_traffic(), LITTLE);
    println!("LITTLE TRAFFIC, promoted / rolled back / given up for want of requests, %");
    println!("{}", little.table::<8>(tables::endings));
}

fn print_goals(good: &Results<8>, needed: &[Needed]) {
    let variants = [
        (Contender::Penstock, "GOALS, Penstock by its defaults"),
        (
            Contender::PenstockSlowness,
            "GOALS, Penstock on errors and slowness",
        ),
    ];
    for (which, (contender, title)) in variants.into_iter().enumerate() {
        let evidence = Evidence {
            good: &good.cells,
            tallies: &good.of(contender),
            needed,
            which,
        };
        println!("{title}\n{}", tables::goals(&evidence.goals()));
    }
}

fn print_cost() -> anyhow::Result<()> {
    let cost = cost::measure()?;
    println!("THE JUDGE ITSELF, one window of three metrics");
    println!(
        "{:.0} ns: {:.2} times reading the window's counts from JSON, {:.3} times Kayenta's look at \
         the windows so far;\n{} calls of the allocator; its state after a release is {} numbers, \
         {} bytes as JSON\n",
        cost.nanoseconds,
        cost.of_json,
        cost.of_kayenta,
        cost.allocations,
        cost.state_numbers,
        cost.state_bytes
    );
    Ok(())
}
