//! What the terminal shows: one line that is always current, and one line per important event.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::alert::v1::{EpisodeChange, EpisodeEvent};
use contracts::response::v1::response_service_client::ResponseServiceClient;
use contracts::response::v1::{CaseChange, CaseEvent};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{Outcome, Timestamp};
use runtime::{Account, Clock, EventClock, HopAccount};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::super::feed::{Parcel, Tally, Watcher};
use super::super::follow::{self, Follow};
use super::super::wire::{cut, time};
use super::system::System;

const TICK: Duration = Duration::from_millis(250);
/// Records sent and not yet worked through, at most, where events drive the clock.
const UNDER_WAY_MAX: usize = 10_000;
/// How often it is looked whether what was sent is worked through.
const WORKED_LOOK: Duration = Duration::from_millis(2);
/// In a pipe the summary comes this often.
const SUMMARY_EVERY_TICKS: u32 = 40;

/// Shows the run.
pub(super) struct Follower {
    summary: Summary,
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
        let account = system.parts.account.clone();
        let summary = Summary { bar: bar.clone(), account, clock, counts: counts.clone() };
        let current = tokio::spawn(summary.clone().keep_current());
        let mut follower = Self { summary, tasks: vec![current] };
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
            self.summary.bar.set_style(style);
        }
        self.summary.bar.clone()
    }

    /// So many records will come.
    pub(super) fn expect(&self, records: u64) {
        self.summary.bar.set_length(records);
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {percent:>3} % {msg}") {
            self.summary.bar.set_style(style);
        }
    }

    /// Counts what is confirmed from now on and, where events drive the clock, moves it and makes room for more.
    pub(super) fn watcher(&mut self, driven: Option<Driven>) -> impl Watcher + use<> {
        let bar = self.summary.bar.clone();
        let counts_records = self.summary.bar.length().is_some();
        let (told, waiting) = mpsc::unbounded_channel();
        if let Some(driven) = driven {
            let worked = Worked::from_now(self.summary.account.clone());
            self.tasks.push(tokio::spawn(driven.follow(waiting, worked)));
        }
        move |parcel: &Parcel, tally: &Tally| {
            if counts_records {
                bar.set_position(tally.records);
            }
            // Nobody listens where the clock goes by itself.
            let _ =
                told.send(Confirmed { stored: tally.stored, records: parcel.records(), at: parcel.last_at });
        }
    }

    /// Writes a line above the summary.
    pub(super) fn note(&self, line: &str) {
        say(&self.summary.bar, line);
    }

    /// Says what became of everything.
    pub(super) fn everything_heard(&self, tally: Option<&Tally>, took: Duration) {
        self.note(&self.summary.line());
        if let Some(tally) = tally {
            let took_s = took.as_secs_f64();
            let rate = tally.records as f64 / took_s.max(f64::EPSILON);
            self.note(&format!(
                "Everything has been heard: {} records, {} mentions, worked through in {took_s:.1} s ({rate:.0} \
                 records a second).",
                tally.records, tally.stored
            ));
        }
        for (hop, account) in self.summary.account.snapshot() {
            let parts: Vec<String> = Outcome::ALL
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
        self.summary.bar.finish_and_clear();
    }
}

/// A parcel that ingest has answered for.
struct Confirmed {
    /// Mentions up to here.
    stored: u64,
    /// Its records.
    records: u32,
    at: Timestamp,
}

/// What goes on as events are worked through: the clock, and the sending of more.
#[derive(Clone)]
pub(super) struct Driven {
    pub(super) clock: Arc<EventClock>,
    /// Records that may be sent.
    pub(super) room: Arc<Semaphore>,
}

impl Driven {
    pub(super) fn new(clock: Arc<EventClock>) -> Self {
        Self { clock, room: Arc::new(Semaphore::new(UNDER_WAY_MAX)) }
    }

    /// Time moves when what happened before has been worked through, not when it has been heard: otherwise
    /// answers still on their way would come after their deadline. And no hop falls far behind another, so that
    /// what is said of a time is said together.
    async fn follow(self, mut waiting: mpsc::UnboundedReceiver<Confirmed>, worked: Worked) {
        while let Some(Confirmed { stored, records, at }) = waiting.recv().await {
            while worked.mentions() < stored {
                tokio::time::sleep(WORKED_LOOK).await;
            }
            self.clock.advance(at);
            self.room.add_permits(records as usize);
        }
    }
}

/// Counts the mentions that every hop is through with.
struct Worked {
    account: Account,
    before: BTreeMap<&'static str, HopAccount>,
}

impl Worked {
    fn from_now(account: Account) -> Self {
        Self { before: account.snapshot(), account }
    }

    fn mentions(&self) -> u64 {
        let total =
            |hop: &str| self.account.hop(hop).total() - self.before.get(hop).map_or(0, HopAccount::total);
        let understood = self.account.hop(classify::HOP).with(Outcome::Stored)
            - self.before.get(classify::HOP).map_or(0, |hop| hop.with(Outcome::Stored));
        let readers = [alert::TALLY_HOP, alert::SEVERE_HOP, response::HOP];
        let heard = readers.into_iter().map(total).min().unwrap_or(0);
        // What was understood and is not heard yet; repeats end in classify.
        total(classify::HOP).saturating_sub(understood.saturating_sub(heard))
    }
}

fn say(bar: &ProgressBar, line: &str) {
    if std::io::stdout().is_terminal() {
        bar.println(line);
    } else {
        println!("{line}");
    }
}

/// Where everything stands, in a line.
#[derive(Clone)]
struct Summary {
    bar: ProgressBar,
    account: Account,
    clock: Arc<dyn Clock>,
    counts: Arc<Counts>,
}

impl Summary {
    fn line(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{}  {} understood, {} pages, {} cases, {} clocks run out",
            time(self.clock.now().as_micros()),
            self.account.hop(classify::HOP).total(),
            read(&self.counts.pages),
            read(&self.counts.cases),
            read(&self.counts.breaches),
        )
    }

    async fn keep_current(self) {
        let is_terminal = std::io::stdout().is_terminal();
        let mut said = String::new();
        for tick in 1u32.. {
            tokio::time::sleep(TICK).await;
            let line = self.line();
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

    async fn follow_cases(self, client: ResponseServiceClient<runtime::net::Link>) {
        let mut follow = Follow::new(follow::Cases { client, brand: String::new(), from_start: true });
        loop {
            let Ok(Some(event)) = follow.next().await else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            self.tell_case(&event);
        }
    }

    /// Cases are many; a line is due where somebody acted, or wrote to us alone.
    fn tell_case(&self, event: &CaseEvent) {
        let Some(case) = &event.case else { return };
        let worth_a_line = case.is_private || !case.assignee.is_empty() || !case.promises.is_empty();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_worked_through_when_every_hop_is_through_with_it_or_classify_ended_it() {
        let account = Account::new();
        let readers = [alert::TALLY_HOP, alert::SEVERE_HOP, response::HOP];
        for hop in [classify::HOP].into_iter().chain(readers) {
            account.ended(hop, Outcome::Stored, "", 100);
        }
        let worked = Worked::from_now(account.clone());
        assert_eq!(worked.mentions(), 0, "what was there before does not count");
        account.ended(classify::HOP, Outcome::Stored, "", 6);
        account.ended(classify::HOP, Outcome::Merged, "repeat", 4);
        assert_eq!(worked.mentions(), 4, "repeats end in classify");
        for (hop, heard) in readers.into_iter().zip([6, 2, 5]) {
            account.ended(hop, Outcome::Suppressed, "", heard);
        }
        assert_eq!(worked.mentions(), 6, "the slowest hop counts");
        account.ended(alert::SEVERE_HOP, Outcome::Suppressed, "", 4);
        account.ended(response::HOP, Outcome::Stored, "", 3);
        assert_eq!(
            worked.mentions(),
            10,
            "what sources say of themselves is more than mentions, and no more"
        );
    }
}
