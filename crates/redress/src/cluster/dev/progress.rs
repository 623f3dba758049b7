//! What the terminal shows: one line that is always current, and one line per important event.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::alert::v1::{EpisodeChange, EpisodeEvent};
use contracts::response::v1::response_service_client::ResponseServiceClient;
use contracts::response::v1::{self as response, CaseChange, CaseEvent};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::Timestamp;
use runtime::{Account, Clock, EventClock};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::feed::{Parcel, Tally, Watcher};
use super::super::follow::{self, Follow};
use super::super::wire::{cut, time};
use super::system::System;

const TICK: Duration = Duration::from_millis(250);
/// In a pipe the summary comes this often.
const SUMMARY_EVERY_TICKS: u32 = 40;

/// Shows the run.
pub(super) struct Follower {
    bar: ProgressBar,
    account: Account,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    pages: AtomicU64,
    cases: AtomicU64,
    breaches: AtomicU64,
}

impl Follower {
    /// Begins to follow `system`.
    pub(super) fn start(system: &System, clock: Arc<dyn Clock>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let counts = Arc::new(Counts::default());
        let mut follower =
            Self { bar: bar.clone(), account: system.parts.account.clone(), tasks: Vec::new() };
        let summary =
            Summary { bar: bar.clone(), account: follower.account.clone(), clock, counts: counts.clone() };
        follower.tasks.push(tokio::spawn(summary.keep_current()));
        let teller = Teller { bar, counts };
        if let (Ok(alerts), Ok(cases)) = (system.alert_link(), system.response_link()) {
            follower.tasks.push(tokio::spawn(teller.clone().follow_alerts(AlertServiceClient::new(alerts))));
            follower.tasks.push(tokio::spawn(teller.follow_cases(ResponseServiceClient::new(cases))));
        }
        follower
    }

    /// The bar's place for the reader of a recording.
    pub(super) fn bar(&self) -> ProgressBar {
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {bytes}/{total_bytes} {msg}") {
            self.bar.set_style(style);
        }
        self.bar.clone()
    }

    /// So many records will come.
    pub(super) fn expect(&self, records: u64) {
        self.bar.set_length(records);
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {percent:>3} % {msg}") {
            self.bar.set_style(style);
        }
    }

    /// Counts what is confirmed and, where events drive the clock, moves it.
    pub(super) fn watcher(&mut self, event_clock: Option<Arc<EventClock>>) -> impl Watcher + use<> {
        let bar = self.bar.clone();
        let counts_records = self.bar.length().is_some();
        let (told, waiting) = mpsc::unbounded_channel();
        if let Some(clock) = event_clock {
            self.tasks.push(tokio::spawn(move_clock(clock, waiting, self.account.clone())));
        }
        move |parcel: &Parcel, tally: &Tally| {
            if counts_records {
                bar.set_position(tally.records);
            }
            // Nobody listens where the clock goes by itself.
            let _ = told.send((tally.stored, parcel.last_at));
        }
    }

    /// Writes a line above the summary.
    pub(super) fn note(&self, line: &str) {
        say(&self.bar, line);
    }

    /// Says what became of everything.
    pub(super) fn everything_heard(&self, tally: Option<&Tally>) {
        if let Some(tally) = tally {
            self.note(&format!(
                "Everything has been heard: {} records, {} mentions.",
                tally.records, tally.stored
            ));
        }
        for (hop, account) in self.account.snapshot() {
            let parts: Vec<String> = model::Outcome::ALL
                .into_iter()
                .filter(|o| account.with(*o) > 0)
                .map(|o| format!("{} {}", account.with(o), o.label().replace('_', "-")))
                .collect();
            self.note(&format!("  {hop}: {}", parts.join(", ")));
        }
    }

    /// Ends the summary line.
    pub(super) fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.bar.finish_and_clear();
    }
}

/// Time moves when what happened before has been worked through, not when it has been heard: otherwise answers
/// still on their way would come after their deadline.
async fn move_clock(
    clock: Arc<EventClock>,
    mut waiting: mpsc::UnboundedReceiver<(u64, Timestamp)>,
    account: Account,
) {
    while let Some((stored, at)) = waiting.recv().await {
        while account.hop("response").total() < stored {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        clock.advance(at);
    }
}

fn say(bar: &ProgressBar, line: &str) {
    if std::io::stdout().is_terminal() {
        bar.println(line);
    } else {
        println!("{line}");
    }
}

struct Summary {
    bar: ProgressBar,
    account: Account,
    clock: Arc<dyn Clock>,
    counts: Arc<Counts>,
}

impl Summary {
    async fn keep_current(self) {
        let is_terminal = std::io::stdout().is_terminal();
        let mut said = String::new();
        for tick in 1u32.. {
            tokio::time::sleep(TICK).await;
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let line = format!(
                "{}  {} understood, {} pages, {} cases, {} clocks run out",
                time(self.clock.now().as_micros()),
                self.account.hop("classify").total(),
                read(&self.counts.pages),
                read(&self.counts.cases),
                read(&self.counts.breaches),
            );
            if is_terminal {
                self.bar.set_message(line);
                self.bar.tick();
            } else if tick.is_multiple_of(SUMMARY_EVERY_TICKS) && line != said {
                println!("{line}");
                said = line;
            }
        }
    }
}

/// Tells important events, one line each, with their reason.
#[derive(Clone)]
struct Teller {
    bar: ProgressBar,
    counts: Arc<Counts>,
}

impl Teller {
    async fn follow_alerts(self, client: AlertServiceClient<runtime::net::Link>) {
        let mut follow = Follow::new(follow::Alerts { client, brand: String::new(), from_start: true });
        loop {
            match follow.next().await {
                Ok(Some(event)) => self.tell_alert(&event),
                // Not there yet, or no longer.
                Ok(None) | Err(_) => tokio::time::sleep(TICK).await,
            }
        }
    }

    fn tell_alert(&self, event: &EpisodeEvent) {
        let Some(episode) = &event.episode else { return };
        let word = match event.change() {
            EpisodeChange::Opened => "rising  ",
            EpisodeChange::Paged => {
                self.counts.pages.fetch_add(1, Ordering::Relaxed);
                "PAGE    "
            }
            EpisodeChange::Acknowledged => "taken   ",
            EpisodeChange::Resolved => "calm    ",
            EpisodeChange::Silenced => "silenced",
            EpisodeChange::NoData => "no data ",
            _ => return,
        };
        let by = if event.by.is_empty() { String::new() } else { format!(" by {}", event.by) };
        let reason = event.reason.as_ref().map(|r| r.text.as_str()).unwrap_or_default();
        say(
            &self.bar,
            &format!("{}  {word} {}{by}: {}", time(event.at_us), cut(&episode.title, 60), cut(reason, 140)),
        );
    }

    async fn follow_cases(self, mut client: ResponseServiceClient<runtime::net::Link>) {
        let of_all = follow::Cases { client: client.clone(), brand: String::new(), from_start: true };
        let mut follow = Follow::new(of_all);
        let mut followed = BTreeSet::new();
        loop {
            let Ok(Some(event)) = follow.next().await else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            if event.change() == CaseChange::Opened && is_private(&mut client, &event).await {
                followed.insert(case_of(&event));
            }
            self.tell_case(&event, followed.contains(&case_of(&event)));
        }
    }

    /// Cases are many; a line is due where somebody acted, or wrote to us alone.
    fn tell_case(&self, event: &CaseEvent, is_followed: bool) {
        let Some(case) = &event.case else { return };
        let worth_a_line = is_followed || !case.assignee.is_empty() || !case.promises.is_empty();
        let word = match event.change() {
            CaseChange::Opened => {
                self.counts.cases.fetch_add(1, Ordering::Relaxed);
                "case    "
            }
            CaseChange::Breached => {
                self.counts.breaches.fetch_add(1, Ordering::Relaxed);
                "OVERDUE "
            }
            CaseChange::CustomerSpoke => "customer",
            CaseChange::BrandAnswered => "answered",
            CaseChange::Assigned => "assigned",
            CaseChange::Promised => "promised",
            CaseChange::PromiseKept => "kept    ",
            CaseChange::PromiseBroken => "BROKEN  ",
            CaseChange::WonBack => "won back",
            CaseChange::Resolved => "resolved",
            CaseChange::Reopened => "reopened",
            _ => return,
        };
        if !worth_a_line {
            return;
        }
        let customer =
            if case.customer_handle.is_empty() { &case.customer_key } else { &case.customer_handle };
        say(
            &self.bar,
            &format!(
                "{}  {word} {} and {}: {}",
                time(event.at_us),
                case.brand,
                cut(customer, 30),
                cut(&event.reason, 140)
            ),
        );
    }
}

fn case_of(event: &CaseEvent) -> bytes::Bytes {
    event.case.as_ref().map(|case| case.case_id.clone()).unwrap_or_default()
}

/// Whether the customer wrote to the brand alone; changes carry no words, so the case itself is asked.
async fn is_private(client: &mut ResponseServiceClient<runtime::net::Link>, event: &CaseEvent) -> bool {
    let request = response::GetCaseRequest { case_id: case_of(event) };
    let Ok(answer) = client.get_case(request).await else { return false };
    answer.into_inner().case.is_some_and(|case| case.messages.iter().any(|m| !m.is_public))
}
