//! ECS services of the player.

use std::time::Duration;

use anyhow::Context;
use aws::local::ecs::Client;
use aws::local::ecs::types::{
    ContainerDefinition, Deployment, DeploymentConfiguration, DeploymentController,
    DeploymentControllerType, DeploymentRolloutState, DeploymentStrategy, KeyValuePair,
    LoadBalancer, PortMapping, Scale, ScaleUnit, Service, ServiceDeploymentStatus, StabilityStatus,
    TaskSet,
};

pub const CLUSTER: &str = "prod";
/// Until something that takes a few processes' starts has happened.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one look at a service to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// A task that does nothing for longer than any test takes.
const IDLE: [&str; 2] = ["sleep", "100000"];
/// The port that a container would listen on.
pub const PORT: i32 = 8080;
/// The container that listens.
pub const CONTAINER: &str = "web";

/// Of its purchases every so many hundredth fails as `FAILS` says; `/health` answers with `HEALTH`, and
/// everything says `VERSION`.
pub const SERVER: &str = "
import http.server, itertools, os

turns = itertools.count(step=37)
version = os.environ.get('VERSION', '').encode()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/health':
            status = int(os.environ['HEALTH'])
        else:
            status = 500 if next(turns) % 100 < int(os.environ['FAILS']) else 200
        self.send_response(status)
        self.send_header('Content-Length', str(len(version)))
        self.end_headers()
        self.wfile.write(version)
    def log_message(self, *parts):
        pass

http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

/// Registers a task definition that runs a command with these variables; its ARN.
pub async fn define(
    ecs: &Client,
    family: &str,
    variables: &[(&str, &str)],
    command: &[&str],
) -> anyhow::Result<String> {
    let variables = variables
        .iter()
        .map(|(name, value)| KeyValuePair::builder().name(*name).value(*value).build());
    let container = ContainerDefinition::builder()
        .name(CONTAINER)
        .image("shop:latest")
        .set_command(Some(command.iter().map(|&word| word.to_owned()).collect()))
        .set_environment(Some(variables.collect()))
        .port_mappings(PortMapping::builder().container_port(PORT).build());
    let register = ecs.register_task_definition().family(family);
    let registered = register.container_definitions(container.build());
    let registered = registered.send().await?.task_definition;
    let arn = registered.and_then(|definition| definition.task_definition_arn);
    arn.context("the task definition has an ARN")
}

/// The container's place behind a target group.
pub fn behind(group: &str) -> LoadBalancer {
    LoadBalancer::builder()
        .target_group_arn(group)
        .container_name(CONTAINER)
        .container_port(PORT)
        .build()
}

/// Makes a service of so many tasks, behind these, and waits until they run; its ARN.
pub async fn make(
    ecs: &Client,
    name: &str,
    (definition, tasks): (&str, i32),
    configuration: DeploymentConfiguration,
    balancers: Vec<LoadBalancer>,
) -> anyhow::Result<String> {
    // There is one already, or it is made.
    ecs.create_cluster().cluster_name(CLUSTER).send().await?;
    let create = ecs.create_service().cluster(CLUSTER).service_name(name);
    let created = create
        .task_definition(definition)
        .desired_count(tasks)
        .deployment_configuration(configuration)
        .set_load_balancers(Some(balancers).filter(|it| !it.is_empty()))
        .send()
        .await?;
    until(ecs, name, |service| runs(service, definition, tasks)).await?;
    let arn = created.service.and_then(|service| service.service_arn);
    arn.context("the service has an ARN")
}

pub async fn described(ecs: &Client, name: &str) -> anyhow::Result<Service> {
    let describe = ecs.describe_services().cluster(CLUSTER);
    let described = describe.services(name).send().await?;
    let service = described.services.and_then(|mut all| all.pop());
    service.with_context(|| format!("there is no service {name}"))
}

/// Waits until a service is so.
pub async fn until(
    ecs: &Client,
    name: &str,
    is_so: impl Fn(&Service) -> bool,
) -> anyhow::Result<Service> {
    let wait = async {
        loop {
            let service = described(ecs, name).await?;
            if is_so(&service) {
                return Ok(service);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.with_context(|| format!("service {name} was never as it should be"))?
}

fn primary(service: &Service) -> Option<&Deployment> {
    service.deployments().first()
}

/// Whether so many tasks of this version are all that it runs, and ECS says that it is done.
pub fn runs(service: &Service, definition: &str, tasks: i32) -> bool {
    let done = primary(service).is_some_and(|primary| {
        primary.task_definition() == Some(definition)
            && primary.rollout_state() == Some(&DeploymentRolloutState::Completed)
    });
    done && (service.desired_count(), service.running_count()) == (tasks, tasks)
}

/// Makes a service whose one task set, the primary one, has so many tasks of this version behind a
/// target group, and waits until they run; its ARN.
pub async fn make_with_task_set(
    ecs: &Client,
    name: &str,
    (definition, tasks): (&str, i32),
    balancer: LoadBalancer,
) -> anyhow::Result<String> {
    ecs.create_cluster().cluster_name(CLUSTER).send().await?;
    let external = DeploymentController::builder().r#type(DeploymentControllerType::External);
    let create = ecs.create_service().cluster(CLUSTER).service_name(name);
    let created = create
        .desired_count(tasks)
        .deployment_controller(external.build()?)
        .send()
        .await?;
    let all = Scale::builder().unit(ScaleUnit::Percent).value(100.0);
    let set = ecs.create_task_set().cluster(CLUSTER).service(name);
    let made = set
        .task_definition(definition)
        .load_balancers(balancer)
        .scale(all.build())
        .send()
        .await?;
    let id = made.task_set.and_then(|set| set.id);
    let id = id.context("the task set has an id")?;
    let primary = ecs.update_service_primary_task_set().cluster(CLUSTER);
    primary.service(name).primary_task_set(id).send().await?;
    let steady = |set: &TaskSet| set.stability_status() == Some(&StabilityStatus::SteadyState);
    until(ecs, name, |service| service.task_sets().iter().all(steady)).await?;
    let arn = created.service.and_then(|service| service.service_arn);
    arn.context("the service has an ARN")
}

/// Whether the only task set is this version's, and the primary one, with so many tasks.
pub fn is_alone_in(service: &Service, definition: &str, tasks: i32) -> bool {
    let [only] = service.task_sets() else {
        return false;
    };
    only.task_definition() == Some(definition)
        && only.status() == Some("PRIMARY")
        && only.running_count() == tasks
}

/// Two task definitions that do nothing.
pub async fn idle(ecs: &Client, family: &str) -> anyhow::Result<[String; 2]> {
    let one = async || define(ecs, family, &[], &IDLE).await;
    Ok([one().await?, one().await?])
}

/// A service of one task that nobody sends requests to.
pub struct Quiet {
    ecs: Client,
    pub name: String,
    pub arn: String,
    /// The task definition that it runs at first.
    pub stable: String,
    /// One that does the same.
    pub candidate: String,
}

impl Quiet {
    /// Makes it, and waits until it runs.
    pub async fn make(
        ecs: &Client,
        name: &str,
        [stable, candidate]: [String; 2],
        configuration: DeploymentConfiguration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            arn: make(ecs, name, (&stable, 1), configuration, Vec::new()).await?,
            name: name.to_owned(),
            ecs: ecs.clone(),
            stable,
            candidate,
        })
    }

    /// With a strategy of ECS's own, and without room for a second task, because ECS rounds one and a
    /// half down: so no deployment of it ever ends by itself.
    pub async fn make_stuck(
        ecs: &Client,
        name: &str,
        definitions: [String; 2],
    ) -> anyhow::Result<Self> {
        let full = DeploymentConfiguration::builder()
            .strategy(DeploymentStrategy::Canary)
            .minimum_healthy_percent(100)
            .maximum_percent(150);
        Self::make(ecs, name, definitions, full.build()).await
    }

    /// Begins to deploy the candidate.
    pub async fn deploy(&self) -> anyhow::Result<()> {
        let update = self.ecs.update_service().cluster(CLUSTER);
        let update = update.service(&self.name).task_definition(&self.candidate);
        update.send().await?;
        self.until_deployment(&[ServiceDeploymentStatus::InProgress])
            .await
    }

    /// Ends it and its tasks.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let delete = self.ecs.delete_service().cluster(CLUSTER);
        delete.service(&self.name).force(true).send().await?;
        Ok(())
    }

    /// Waits until it runs nothing but one task of a definition, and ECS says that it is done; the
    /// task definition's ARN.
    pub async fn until_settled(&self) -> anyhow::Result<String> {
        let of_it = |service: &Service| {
            let primary = primary(service).and_then(Deployment::task_definition);
            primary.filter(|it| runs(service, it, 1)).map(str::to_owned)
        };
        let service = until(&self.ecs, &self.name, |it| of_it(it).is_some()).await?;
        of_it(&service).context("it is settled")
    }

    /// The task definitions of all tasks that run.
    pub async fn running(&self) -> anyhow::Result<Vec<String>> {
        let service = described(&self.ecs, &self.name).await?;
        let running = service
            .deployments()
            .iter()
            .filter(|it| it.running_count() > 0);
        let definitions = running.filter_map(Deployment::task_definition);
        Ok(definitions.map(str::to_owned).collect())
    }

    /// Waits until its last deployment has one of these statuses.
    pub async fn until_deployment(
        &self,
        statuses: &[ServiceDeploymentStatus],
    ) -> anyhow::Result<()> {
        let wait = async {
            loop {
                let list = self.ecs.list_service_deployments().cluster(CLUSTER);
                let listed = list.service(&self.name).send().await?;
                let mut all = listed.service_deployments().iter();
                if all.any(|one| one.status().is_some_and(|s| statuses.contains(s))) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.with_context(|| format!("the deployment of {} was never {statuses:?}", self.name))?
    }
}
