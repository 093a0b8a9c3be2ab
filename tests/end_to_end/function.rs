//! A Lambda function behind an alias: what a release moves from version to version.

use anyhow::Context;
use aws::local::lambda;

use crate::world::World;

/// A function with an alias `live` on its version 1.
pub struct Function {
    pub name: String,
    /// Without a version or alias.
    pub arn: String,
}

impl Function {
    pub fn create(world: &World) -> anyhow::Result<Self> {
        let name = world.name("shop-function");
        let made = format!(
            "{DEPLOY}\n\
             role = boto3.client('iam').create_role(RoleName='{name}', AssumeRolePolicyDocument=TRUST)['Role']['Arn']\n\
             made = client.create_function(FunctionName='{name}', Runtime='python3.12', Handler='app.handler',\n\
             \x20   Role=role, Code={{'ZipFile': code(0)}})\n\
             version = client.publish_version(FunctionName='{name}')['Version']\n\
             client.create_alias(FunctionName='{name}', Name='live', FunctionVersion=version)\n\
             print(made['FunctionArn'])"
        );
        let arn = world.boto3(&made)?;
        Ok(Self { name, arn })
    }

    /// Uploads code of which so many percent of the invocations fail.
    pub fn upload(&self, world: &World, fails_percent: u32) -> anyhow::Result<()> {
        let name = &self.name;
        world.boto3(&format!(
            "{DEPLOY}\nclient.update_function_code(FunctionName='{name}', ZipFile=code({fails_percent}))"
        ))?;
        Ok(())
    }

    /// Publishes what was uploaded, as a build would.
    pub async fn publish(&self, world: &World) -> anyhow::Result<String> {
        let published = emulator(world).publish_version().function_name(&self.arn);
        let version = published.send().await?.version;
        version.context("the new version has a number")
    }

    /// The version that the alias points to, and the others with their shares.
    pub async fn alias(&self, world: &World) -> anyhow::Result<(String, Vec<(String, f64)>)> {
        let alias = emulator(world).get_alias();
        let alias = alias.function_name(&self.arn).name("live").send().await?;
        let routing = alias.routing_config;
        let others = routing.and_then(|routing| routing.additional_version_weights);
        let others = others.unwrap_or_default().into_iter().collect();
        Ok((alias.function_version.unwrap_or_default(), others))
    }

    /// Moves the alias past every release.
    pub async fn move_by_hand(&self, world: &World, version: &str) -> anyhow::Result<()> {
        let nothing = lambda::types::AliasRoutingConfiguration::builder()
            .set_additional_version_weights(Some(Default::default()))
            .build();
        let update = emulator(world).update_alias();
        let update = update.function_name(&self.arn).name("live");
        let update = update.function_version(version).routing_config(nothing);
        update.send().await?;
        Ok(())
    }
}

/// Makes versions that fail so many percent of their invocations.
const DEPLOY: &str = "\
import boto3, io, json, zipfile\n\
client = boto3.client('lambda')\n\
TRUST = json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow',\n\
\x20   'Principal': {'Service': 'lambda.amazonaws.com'}, 'Action': 'sts:AssumeRole'}]})\n\
def code(percent):\n\
\x20   text = 'import random\\ndef handler(event, context):\\n'\n\
\x20   text += f'    if random.random() * 100 < {percent}: raise Exception(\"no money\")\\n'\n\
\x20   text += f'    return {percent}\\n'\n\
\x20   file = io.BytesIO()\n\
\x20   with zipfile.ZipFile(file, 'w') as archive: archive.writestr('app.py', text)\n\
\x20   return file.getvalue()\n";

/// The emulator's Lambda, past the player's.
pub fn emulator(world: &World) -> lambda::Client {
    lambda::Client::new(world.stack.sdk())
}
