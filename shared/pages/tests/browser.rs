//! The page in a real browser: headless Chromium, driven through a pipe by the DevTools protocol.
//!
//! Without Chromium on the `PATH` these tests are ignored, and say so.

mod samples;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use tempfile::TempDir;

use samples::stories;

/// What the browser is called, on one system or another.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
/// The least contrast of text to what is behind it (WCAG 2.2, 1.4.3; 3 for large text).
const CONTRAST_MIN: f64 = 4.5;

/// The contrast of every text to the nearest background that is not transparent, the least first.
const CONTRASTS: &str = r#"(() => {
  const colour = text => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
    return .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c.length && (c.length < 4 || c[3] === 1)) return c;
    }
    return colour(getComputedStyle(document.documentElement).getPropertyValue('background-color'));
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = [];
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('svg, script, style')) continue;
    const [a, b] = [light(colour(getComputedStyle(e).color)), light(behind(e))];
    seen.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), walk.currentNode.data.trim()]);
  }
  return seen.sort((a, b) => a[0] - b[0]).slice(0, 3);
})()"#;

/// A page in a browser of its own.
struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    calls: u64,
    session: Option<String>,
    /// The names of events so far, with what requests were for.
    events: Vec<String>,
    folder: TempDir,
}

impl Browser {
    fn start() -> Result<Self, Failed> {
        let folder = TempDir::new()?;
        let name = browser().ok_or("there is no browser")?;
        // The protocol is spoken on the file descriptors 3 and 4.
        let command = format!(
            "exec {name} --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
             --disable-background-networking --disable-component-update --disable-sync \
             --hide-scrollbars --remote-debugging-pipe --user-data-dir={} 3<&0 4>&1 >/dev/null",
            folder.path().join("profile").display()
        );
        let mut process = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (to, from) = (process.stdin.take(), process.stdout.take());
        let mut browser = Self {
            process,
            to: to.ok_or("no pipe")?,
            from: BufReader::new(from.ok_or("no pipe")?),
            calls: 0,
            session: None,
            events: Vec::new(),
            folder,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach)?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    fn call(&mut self, method: &str, parameters: Value) -> Result<Value, Failed> {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        write!(self.to, "{call}\0")?;
        self.to.flush()?;
        loop {
            let answer = self.next()?;
            if answer["id"] == self.calls {
                return match answer.get("error") {
                    Some(error) => Err(format!("{method}: {error}").into()),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }

    fn next(&mut self) -> Result<Value, Failed> {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message)?;
        let message = message.strip_suffix(b"\0").ok_or("the browser has ended")?;
        let message: Value = serde_json::from_slice(message)?;
        if let Some(event) = message["method"].as_str() {
            let url = message["params"]["request"]["url"].as_str();
            self.events.push(match url {
                Some(url) => format!("{event} {url}"),
                None => event.to_owned(),
            });
        }
        Ok(message)
    }

    /// Opens a page on a screen of this width.
    fn open(&mut self, html: &str, width: u32, scheme: &str) -> Result<(), Failed> {
        let file = self.folder.path().join("page.html");
        std::fs::write(&file, html)?;
        let screen = json!({"width": width, "height": 640, "deviceScaleFactor": 1, "mobile": true});
        self.call("Emulation.setDeviceMetricsOverride", screen)?;
        let scheme = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [scheme]}))?;
        self.events.clear();
        let url = format!("file://{}", file.display());
        self.call("Page.navigate", json!({"url": url}))?;
        while !self
            .events
            .iter()
            .any(|event| event == "Page.loadEventFired")
        {
            self.next()?;
        }
        Ok(())
    }

    fn evaluate(&mut self, script: &str) -> Result<Value, Failed> {
        let script = json!({"expression": script, "returnByValue": true});
        let result = self.call("Runtime.evaluate", script)?;
        match result.get("exceptionDetails") {
            Some(thrown) => Err(format!("the script threw: {thrown}").into()),
            None => Ok(result["result"]["value"].clone()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn browser() -> Option<&'static str> {
    let path = std::env::var_os("PATH")?;
    let is_there = |name: &&str| std::env::split_paths(&path).any(|d| d.join(name).is_file());
    BROWSERS.into_iter().find(|name| is_there(name))
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), Failed> {
    match holds {
        true => Ok(()),
        false => Err(why().into()),
    }
}

/// Every sample of both kinds but the largest ones, which take long: what it is called, and its page.
fn pages() -> impl Iterator<Item = (&'static str, String)> {
    let gates = samples::all().into_iter().filter(|s| s.name != "huge");
    let gates = gates.map(|sample| (sample.name, sample.page().html()));
    let releases = stories::all()
        .into_iter()
        .filter(|t| t.name != "release-huge");
    gates.chain(releases.map(|tale| (tale.name, tale.page().html())))
}

fn each(
    width: u32,
    scheme: &str,
    look: impl Fn(&mut Browser) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut browser = Browser::start()?;
    for (name, html) in pages() {
        browser.open(&html, width, scheme)?;
        look(&mut browser).map_err(|failed| {
            let why = failed.message().unwrap_or_default();
            format!("{name} in {scheme}: {why}")
        })?;
    }
    Ok(())
}

fn fits_a_phone() -> Result<(), Failed> {
    each(360, "light", |page| {
        let widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")?;
        ensure(widths[0].as_u64() <= widths[1].as_u64(), || {
            format!(
                "the page is {} wide on a screen of {}",
                widths[0], widths[1]
            )
        })
    })
}

fn can_be_read() -> Result<(), Failed> {
    for scheme in ["light", "dark"] {
        each(1200, scheme, |page| {
            let least = page.evaluate(CONTRASTS)?;
            let contrast = least[0][0].as_f64().unwrap_or(0.0);
            ensure(contrast >= CONTRAST_MIN, || {
                format!("too little contrast: {least}")
            })
        })?;
    }
    Ok(())
}

fn loads_and_runs_nothing_else() -> Result<(), Failed> {
    each(1200, "light", |page| {
        let asked = page.events.iter().filter(|event| {
            event.starts_with("Network.requestWillBeSent ") && !event.ends_with("/page.html")
        });
        let asked: Vec<_> = asked.cloned().collect();
        ensure(asked.is_empty(), || format!("it asks for {asked:?}"))?;
        let bad = [
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        ];
        let said = page
            .events
            .iter()
            .find(|event| bad.contains(&event.as_str()));
        ensure(said.is_none(), || format!("it says {said:?}"))?;
        // Markup in a name would have become an element; the page itself has none of these.
        let strange =
            page.evaluate("document.querySelectorAll('img, iframe, object, base').length")?;
        ensure(strange == 0, || {
            format!("{strange} elements came out of a report")
        })?;
        let scripts = page.evaluate("document.scripts.length")?;
        ensure(scripts.as_u64() <= Some(1), || format!("{scripts} scripts"))
    })
}

fn search_finds() -> Result<(), Failed> {
    let mut browser = Browser::start()?;
    browser.open(&samples::fail().page().html(), 1200, "light")?;
    let shown = "[...document.querySelectorAll('li, tr')].filter(e => e.checkVisibility()).length";
    let all = browser.evaluate(shown)?;
    let search = |text: &str| {
        format!(
            "(() => {{ const box = document.getElementById('search'); box.value = {}; \
             box.dispatchEvent(new Event('input')); }})()",
            json!(text)
        )
    };
    browser.evaluate(&search("is_idempotent_183"))?;
    // Typing is waited for until it pauses.
    let wait = "new Promise(done => setTimeout(done, 500))";
    let wait = json!({"expression": wait, "awaitPromise": true});
    browser.call("Runtime.evaluate", wait.clone())?;
    let some = browser.evaluate(shown)?;
    let found = browser.evaluate("document.getElementById('found').textContent")?;
    ensure(some.as_u64() < all.as_u64(), || {
        format!("{some} of {all} rows are shown; the page says {found}")
    })?;
    let kept = "[...document.querySelectorAll('li, tr')].some(e => e.checkVisibility() \
                && e.textContent.includes('is_idempotent_183'))";
    ensure(browser.evaluate(kept)? == true, || {
        "the one looked for is hidden".to_owned()
    })?;
    browser.evaluate(&search(""))?;
    browser.call("Runtime.evaluate", wait)?;
    let again = browser.evaluate(shown)?;
    ensure(again == all, || format!("{again} of {all} rows came back"))
}

/// So a decision stands at the same place in all of them.
fn share_an_axis() -> Result<(), Failed> {
    let mut browser = Browser::start()?;
    for width in [360, 1200] {
        browser.open(&stories::rolled_back().page().html(), width, "light")?;
        let places = browser.evaluate(
            "[...document.querySelectorAll('.plot > svg')].map(e => { \
             const r = e.getBoundingClientRect(); return r.left + ' ' + r.width; })",
        )?;
        let places: Vec<_> = places.as_array().ok_or("no graphs")?.iter().collect();
        ensure(places.len() == 5, || format!("{places:?}"))?;
        ensure(places.iter().all(|place| *place == places[0]), || {
            format!("{places:?}")
        })?;
        let marks = browser.evaluate("document.querySelectorAll('.mark-at.back').length")?;
        ensure(marks == 4, || format!("{marks} marks of the rollback"))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    type Test = (&'static str, fn() -> Result<(), Failed>);
    let tests: [Test; 5] = [
        ("a_page_fits_a_phone", fits_a_phone),
        ("every_text_can_be_read_in_both_schemes", can_be_read),
        (
            "a_page_loads_and_runs_nothing_else",
            loads_and_runs_nothing_else,
        ),
        ("the_search_shows_what_it_finds", search_finds),
        ("all_graphs_of_a_release_share_one_axis", share_an_axis),
    ];
    let is_absent = browser().is_none();
    if is_absent {
        println!("ignored: none of {BROWSERS:?} is on the PATH");
    }
    let trials = tests.map(|(name, test)| Trial::test(name, test).with_ignored_flag(is_absent));
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}
