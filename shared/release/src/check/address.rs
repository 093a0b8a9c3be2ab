//! Which addresses a probe may be sent to.
//!
//! A URL in `penstock.yaml` must not make the function ask what only a machine itself may ask, such
//! as the service that hands out its credentials. Ranges: IANA's registries of special-purpose
//! addresses for IPv4 and IPv6; embedded IPv4: RFC 4291 (mapped, compatible), 2765 (translated), 3056
//! (6to4), 6052 and 8215 (NAT64).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who can be reached at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Somebody on the internet.
    Public,
    /// Somebody in the same network, or this machine.
    Private,
    /// Nobody that a probe has any business with; what the address is for.
    Never(&'static str),
}

const LINK_LOCAL: Reach = Reach::Never("link-local, where credentials are handed out");
const METADATA: Reach = Reach::Never("a cloud's service for its own machines");
const UNSPECIFIED: Reach = Reach::Never("no address of anybody");
const MULTICAST: Reach = Reach::Never("an address of many");
const RESERVED: Reach = Reach::Never("reserved");
const TUNNEL: Reach = Reach::Never("an address that hides another one");

/// The first that fits counts; everything else is public.
const IPV4: [(Ipv4Addr, u32, Reach); 14] = [
    (Ipv4Addr::new(169, 254, 0, 0), 16, LINK_LOCAL),
    (Ipv4Addr::new(100, 100, 100, 200), 32, METADATA), // Alibaba Cloud
    (Ipv4Addr::new(168, 63, 129, 16), 32, METADATA),   // Azure
    (Ipv4Addr::new(192, 0, 0, 0), 24, METADATA),       // Oracle Cloud's is in it
    (Ipv4Addr::new(0, 0, 0, 0), 8, UNSPECIFIED),       // Linux connects to itself
    (Ipv4Addr::new(224, 0, 0, 0), 4, MULTICAST),
    (Ipv4Addr::new(240, 0, 0, 0), 4, RESERVED),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Reach::Private),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Reach::Private),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Reach::Private),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Reach::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Reach::Private), // behind a carrier's NAT
    (Ipv4Addr::new(198, 18, 0, 0), 15, Reach::Private), // benchmarks of networks
    (Ipv4Addr::new(192, 88, 99, 0), 24, TUNNEL),        // relays of 6to4
];

/// The first that fits counts; everything else is no address of the internet.
const IPV6: [(Ipv6Addr, u32, Reach); 8] = [
    (Ipv6Addr::LOCALHOST, 128, Reach::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LINK_LOCAL),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, METADATA), // EC2, ECS, EKS
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0), 32, METADATA),  // Google Cloud
    (
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
        Reach::Private,
    ),
    (
        Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0),
        10,
        Reach::Private,
    ), // what fc00::/7 replaced
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, TUNNEL), // Teredo
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Reach::Public),
];

/// Who can be reached at this address.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => reach_v4(inner),
            None => reach_v6(address),
        },
    }
}

/// Says why a probe is not sent to this address, if it is not.
pub fn refusal(address: IpAddr, private_too: bool) -> Option<String> {
    match reach(address) {
        Reach::Public => None,
        Reach::Private if private_too => None,
        Reach::Private => Some(format!(
            "{address} is a private address: it needs `allow-private: true` in the probe, and the \
             stack's parameter AllowPrivateProbes"
        )),
        Reach::Never(what) => Some(format!(
            "{address} is {what}: no probe is ever sent there; write an address that serves requests"
        )),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let fits = |(network, bits, _): &&(Ipv4Addr, u32, Reach)| {
        let differ = address.to_bits() ^ network.to_bits();
        differ.leading_zeros() >= *bits
    };
    IPV4.iter()
        .find(fits)
        .map_or(Reach::Public, |found| found.2)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let fits = |(network, bits, _): &&(Ipv6Addr, u32, Reach)| {
        let differ = address.to_bits() ^ network.to_bits();
        differ.leading_zeros() >= *bits
    };
    IPV6.iter().find(fits).map_or(RESERVED, |found| found.2)
}

/// The IPv4 address that whoever is asked at this one is asked at.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |[.., high, low]: [u16; 8]| Ipv4Addr::from_bits(pair(high, low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        all @ ([0, 0, 0, 0, 0, 0 | 0xffff, ..]         // compatible, mapped
        | [0, 0, 0, 0, 0xffff, 0, ..]                  // translated
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]) => Some(last(all)), // NAT64
        [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(pair(high, low))), // 6to4
        _ => None,
    }
}

fn pair(high: u16, low: u16) -> u32 {
    u32::from(high) << 16 | u32::from(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reach_of(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn nobody_is_asked_where_credentials_are_handed_out() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.0",
            "169.254.255.255",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd20:ce::254",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "64:ff9b:1::a9fe:a9fe",
            "2001:0:1::1",
            "100::1",
            "4000::1",
        ] {
            assert!(matches!(reach_of(text), Reach::Never(_)), "{text}");
            assert!(refusal(text.parse().unwrap(), true).is_some(), "{text}");
        }
    }

    #[test]
    fn ranges_begin_and_end_where_they_should() {
        for (text, expected) in [
            ("9.255.255.255", Reach::Public),
            ("10.0.0.0", Reach::Private),
            ("10.255.255.255", Reach::Private),
            ("11.0.0.0", Reach::Public),
            ("172.15.255.255", Reach::Public),
            ("172.16.0.0", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("172.32.0.0", Reach::Public),
            ("192.168.0.0", Reach::Private),
            ("192.169.0.0", Reach::Public),
            ("100.63.255.255", Reach::Public),
            ("100.64.0.0", Reach::Private),
            ("100.127.255.255", Reach::Private),
            ("100.128.0.0", Reach::Public),
            ("126.255.255.255", Reach::Public),
            ("127.0.0.1", Reach::Private),
            ("127.255.255.255", Reach::Private),
            ("169.253.255.255", Reach::Public),
            ("169.255.0.0", Reach::Public),
            ("::1", Reach::Private),
            ("fc00::1", Reach::Private),
            ("fdff::1", Reach::Private),
            ("2600:1f18::1", Reach::Public),
            ("2001:4860:4860::8888", Reach::Public),
        ] {
            assert_eq!(reach_of(text), expected, "{text}");
        }
    }

    /// Every way to write an IPv4 address as an IPv6 one that leads there.
    fn disguises(address: Ipv4Addr) -> [Ipv6Addr; 4] {
        let bits = u128::from(address.to_bits());
        [
            address.to_ipv6_mapped(),
            Ipv6Addr::from_bits(0xffff << 48 | bits), // ::ffff:0:a.b.c.d
            Ipv6Addr::from_bits(0x0064_ff9b << 96 | bits),
            Ipv6Addr::from_bits(0x2002 << 112 | bits << 80 | 1),
        ]
    }

    proptest! {
        #[test]
        fn a_disguised_address_is_judged_as_what_it_is(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            for disguise in disguises(address) {
                prop_assert_eq!(reach(disguise.into()), reach(address.into()), "{}", disguise);
            }
        }

        #[test]
        fn what_the_standard_library_calls_special_is_not_public(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let reached = reach(address.into());
            if address.is_private() || address.is_loopback() {
                prop_assert_eq!(reached, Reach::Private);
            }
            if address.is_link_local() || address.is_multicast() || address.is_broadcast()
                || address.is_unspecified()
            {
                prop_assert!(matches!(reached, Reach::Never(_)), "{}", address);
            }
        }

        #[test]
        fn permission_for_private_addresses_opens_nothing_else(bits: u128, v4: u32) {
            for address in [IpAddr::from(Ipv6Addr::from_bits(bits)), Ipv4Addr::from_bits(v4).into()] {
                let [without, with] = [false, true].map(|too| refusal(address, too).is_none());
                match reach(address) {
                    Reach::Public => prop_assert!(without && with),
                    Reach::Private => prop_assert!(!without && with),
                    Reach::Never(_) => prop_assert!(!without && !with),
                }
            }
        }

        #[test]
        fn every_ipv6_address_of_a_range_is_judged_by_it(low: u128) {
            for (network, bits, expected) in IPV6.into_iter().filter(|(_, bits, _)| *bits < 128) {
                // Those of a range that lie in a narrower one before it have a rule of their own.
                let address = Ipv6Addr::from_bits(network.to_bits() | low >> bits);
                let narrower = IPV6.iter().take_while(|(n, ..)| *n != network);
                let mut narrower = narrower.filter(|(n, b, _)| {
                    (address.to_bits() ^ n.to_bits()).leading_zeros() >= *b
                });
                if narrower.next().is_none() && embedded(address).is_none() {
                    prop_assert_eq!(reach(address.into()), expected, "{}", address);
                }
            }
        }
    }
}
