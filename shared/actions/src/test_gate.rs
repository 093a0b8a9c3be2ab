//! A verdict over the reports in the input artifacts.

use engine::{
    Action, ActionError, Asking, Input, Invocation, Job, Past, PortError, Ports, Stream, chain,
    recall_history, remember_run,
};
use jiff::Timestamp;
use pages::GatePage;
use release::gate::{Caller, Context, Evidence, Gate, GateVerdict, History, IMAGE_FILE_BYTES_MAX};
use release::{FailureKind, JobReply, ReleaseId};

use crate::artifacts::{Inputs, in_config, port_error};
use crate::gather::{GatherError, gather};
use crate::output;
use crate::sources::{self, Asked};

/// The action `test-gate`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TestGate;

impl Action for TestGate {
    const NAME: &'static str = "test-gate";

    async fn run(
        &self,
        ports: &impl Ports,
        _call: &Invocation,
        job: &Job,
    ) -> Result<JobReply, ActionError> {
        let asked = job.clone();
        let wanted = Inputs::read(ports, job, move |inputs| Wanted::by(&asked, inputs)).await?;
        let Wanted {
            name,
            gate,
            image_file,
            evidence,
        } = wanted;
        let stream = stream(job, &name, &gate)?;
        let asked = Asked {
            gate: &gate,
            build: job.parameters.build.as_deref(),
            image_file: image_file.as_deref(),
        };
        let story = job.story(Self::NAME)?;
        let kept = match sources::look(ports, &story, asked).await? {
            sources::Looked::Wait(reply) => return Ok(reply),
            sources::Looked::Found(found) => found,
        };
        let mut evidence = match evidence {
            Some(evidence) => evidence,
            None => {
                let gate = gate.clone();
                Inputs::read(ports, job, move |inputs| look(&gate, inputs)).await?
            }
        };
        kept.into_iter().for_each(|found| evidence.add(found));
        let Past { history, lost } = past(ports, stream.as_ref(), &gate, &story).await?;
        let verdict = gate.judge(
            evidence,
            &Context {
                by: Caller::Pipeline,
                now: ports.now(),
                run: job.parameters.execution.as_deref().unwrap_or(&job.id),
                since: began(ports, job, &gate).await?,
                commit: job.parameters.commit.as_deref(),
                history: &history,
                lost: lost.as_deref(),
            },
        );
        let passed = verdict.passed();
        let tests = verdict.totals.tests;
        tracing::info!(gate = name, passed, tests, "judged");
        ports.measure(&verdict.metric_line(&name, job.parameters.pipeline.as_deref()));
        let files = async || {
            let page = page(job, &name, &verdict, &history);
            Ok(vec![
                ("report.html", page.html()),
                ("report.md", page.markdown()),
                ("result.json", output::result_json(&verdict)?),
            ])
        };
        output::store(ports, job, files).await?;
        if let Some(stream) = stream.filter(|_| passed) {
            remember_run(ports, &stream, &verdict.run()).await?;
        }
        Ok(answer(&verdict))
    }
}

fn answer(verdict: &GateVerdict) -> JobReply {
    match verdict.passed() {
        true => JobReply::Succeed {
            summary: verdict.summary(),
            outputs: verdict.outputs(),
        },
        false => JobReply::Fail {
            kind: FailureKind::JobFailed,
            message: verdict.summary(),
        },
    }
}

/// What the job asks for.
struct Wanted {
    name: String,
    gate: Gate,
    /// The file that the gate's `image-scan` names.
    image_file: Option<Vec<u8>>,
    /// The reports in the input artifacts. Where the gate may have to wait they are read afterwards,
    /// once and not at every look.
    evidence: Option<Evidence>,
}

impl Wanted {
    fn by<I: Input>(job: &Job, inputs: &mut Inputs<I>) -> Result<Self, ActionError> {
        let config = inputs.config()?;
        let section = job.parameters.section.as_deref();
        let (name, gate) = config.gate(section).map_err(in_config(job))?;
        let image_file = match &gate.image_scan {
            Some(scan) => inputs.small(&scan.file, IMAGE_FILE_BYTES_MAX as u64)?,
            None => None,
        };
        let evidence = match gate.codebuild.is_some() || gate.image_scan.is_some() {
            true => None,
            false => Some(look(gate, inputs)?),
        };
        Ok(Self {
            name: name.to_owned(),
            gate: gate.clone(),
            image_file,
            evidence,
        })
    }
}

fn look<I: Input>(gate: &Gate, inputs: &mut Inputs<I>) -> Result<Evidence, ActionError> {
    gather(gate, inputs.archives()).map_err(|error| match error {
        GatherError::Glob(error) => ActionError::Refused(chain(&error)),
        GatherError::Input(error) => ActionError::Port(port_error(error)),
    })
}

/// Where the runs of this gate are remembered; None when the pipeline is not known and no rule looks
/// at them.
fn stream(job: &Job, name: &str, gate: &Gate) -> Result<Option<Stream>, ActionError> {
    let stream = job.parameters.stream(name);
    let stream = stream.map_err(|error| ActionError::Refused(error.to_string()))?;
    if stream.is_none() && gate.compares() {
        return Err(ActionError::Refused(
            "a rule of the gate looks at the last run that passed: name the pipeline as \
             \"pipeline\" in the action's UserParameters, such as \"pipeline\":\"shop\""
                .to_owned(),
        ));
    }
    Ok(stream)
}

/// The runs that passed before, to compare with or else to show.
async fn past(
    ports: &impl Ports,
    stream: Option<&Stream>,
    gate: &Gate,
    story: &ReleaseId,
) -> Result<Past, PortError> {
    let asking = match gate.compares() {
        true => Asking::ToCompare(story),
        false => Asking::ToShow,
    };
    match stream {
        Some(stream) => recall_history(ports, stream, asking).await,
        None => Ok(Past::default()),
    }
}

/// When the pipeline execution began, where a rule asks for it.
async fn began(ports: &impl Ports, job: &Job, gate: &Gate) -> Result<Option<Timestamp>, PortError> {
    let parameters = &job.parameters;
    match (&parameters.pipeline, &parameters.execution) {
        (Some(pipeline), Some(execution)) if gate.dates_the_execution() => {
            ports.began(pipeline, execution).await
        }
        _ => Ok(None),
    }
}

fn page<'a>(
    job: &'a Job,
    gate: &'a str,
    verdict: &'a GateVerdict,
    history: &'a History,
) -> GatePage<'a> {
    GatePage {
        gate,
        verdict,
        history,
        execution: job.parameters.execution.as_deref(),
        commit: job.parameters.commit.as_deref(),
        pipeline: job.parameters.pipeline.as_deref(),
        made: verdict.point.at,
    }
}
