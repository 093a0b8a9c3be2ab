//! EC2 instances, as far as a laptop has them: ids that stand for addresses of this machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::AlbError;
use super::error::ApiError;

/// The known instances, each with the address that its targets have.
#[derive(Clone, Debug, Default)]
pub(super) struct Instances(Arc<BTreeMap<String, IpAddr>>);

impl Instances {
    /// Only loopback addresses: what runs on a laptop stays on the laptop.
    pub(super) fn new(instances: BTreeMap<String, IpAddr>) -> Result<Self, AlbError> {
        match instances
            .iter()
            .find(|(id, ip)| !is_id(id) || !ip.is_loopback())
        {
            Some((id, ip)) => Err(AlbError::Instance(id.clone(), *ip)),
            None => Ok(Self(Arc::new(instances))),
        }
    }

    pub(super) fn address(&self, id: &str) -> Result<IpAddr, ApiError> {
        self.0.get(id).copied().ok_or_else(|| {
            ApiError::invalid_target(format!(
                "the local load balancer knows no instance '{id}'; start the player with --instance {id}=127.0.0.1"
            ))
        })
    }
}

/// `i-` and hexadecimal digits: 8 in old ids, 17 in others.
fn is_id(id: &str) -> bool {
    let digits = id.strip_prefix("i-").unwrap_or_default();
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    matches!(digits.len(), 8 | 17) && digits.bytes().all(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_real_ids_and_loopback_addresses() {
        for (known, id, ip) in [
            (true, "i-0123456789abcdef0", "127.0.0.2"),
            (true, "i-0123abcd", "::1"),
            (false, "i-0123456789abcdef0", "192.0.2.1"),
            (false, "i-0123", "127.0.0.1"),
            (false, "i-0123456789ABCDEF0", "127.0.0.1"),
            (false, "0123abcd", "127.0.0.1"),
        ] {
            let ip = ip.parse().expect("an address");
            let instances = Instances::new([(id.to_owned(), ip)].into());
            assert_eq!(instances.is_ok(), known, "{id} {ip}");
        }
    }
}
