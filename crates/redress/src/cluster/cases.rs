//! `redress cases` and `redress report`: whom we have not answered yet, and what we promised.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use contracts::response::v1::response_service_client::ResponseServiceClient;
use contracts::response::v1::{
    AssignRequest, Case, CaseEvent, CaseState, GetCaseRequest, KeepRequest, ListCasesRequest, PromiseRequest,
    RecordReplyRequest, ReopenRequest, ReportRequest, ResolveRequest,
};
use model::Timestamp;
use runtime::net::Link;

use super::follow::{self, Follow};
use super::wire::{self, Format, Id, Peer, cut, id_text, refused, time, word};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress cases list --overdue
  redress cases assign 5f6c… --assignee luca
  redress cases promise 5f6c… --what 'refund of 42 EUR' --due 2026-12-01T17:00:00Z
  redress cases watch --format jsonl")]
pub(crate) struct CasesArgs {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: Cases,
}

#[derive(Debug, Args)]
struct At {
    /// Where the response service listens
    #[arg(long, env = "REDRESS_RESPONSE_URL", default_value = "http://localhost:7705", global = true)]
    to: String,
    #[command(flatten)]
    peer: Peer,
}

impl At {
    fn client(&self) -> anyhow::Result<ResponseServiceClient<Link>> {
        Ok(ResponseServiceClient::new(self.peer.link(&self.to)?))
    }
}

#[derive(Debug, Subcommand)]
enum Cases {
    /// List cases, longest waiting first
    List {
        #[arg(long, default_value = "")]
        brand: String,
        #[arg(long, default_value = "")]
        assignee: String,
        /// Only those with a breached clock or a broken promise
        #[arg(long)]
        overdue: bool,
        /// Resolved ones too
        #[arg(long)]
        all: bool,
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one case with its clocks, promises and history
    Show {
        /// Its id, as `list` shows it
        case: Id,
    },
    /// Give it to somebody; an empty assignee takes it back
    Assign {
        /// Its id, as `list` shows it
        case: Id,
        #[arg(long)]
        assignee: String,
        #[arg(long, env = "USER")]
        by: String,
    },
    /// Record an answer given where Redress cannot see it
    Reply {
        /// Its id, as `list` shows it
        case: Id,
        #[arg(long)]
        text: String,
        #[arg(long, env = "USER")]
        by: String,
        /// It was given in public
        #[arg(long)]
        public: bool,
        /// Now it is the customer's turn
        #[arg(long)]
        waits_for_customer: bool,
    },
    /// Record a promise
    Promise {
        /// Its id, as `list` shows it
        case: Id,
        #[arg(long)]
        what: String,
        /// By when: RFC 3339, or a date (its first moment, UTC)
        #[arg(long, value_name = "TIME", value_parser = wire::moment)]
        due: Timestamp,
        /// Who has to keep it
        #[arg(long, default_value = "")]
        owner: String,
        #[arg(long, env = "USER")]
        by: String,
        /// The open promise this one replaces
        #[arg(long)]
        replaces: Option<Id>,
    },
    /// Record that a promise was kept
    Keep {
        /// Its id, as `list` shows it
        case: Id,
        /// Its id, as `show` shows it
        promise: Id,
        #[arg(long, default_value = "")]
        evidence: String,
        #[arg(long, env = "USER")]
        by: String,
    },
    /// End the matter
    Resolve {
        /// Its id, as `list` shows it
        case: Id,
        #[arg(long, default_value = "")]
        note: String,
        #[arg(long, default_value = "")]
        root_cause: String,
        #[arg(long, env = "USER")]
        by: String,
    },
    /// Take it up again
    Reopen {
        /// Its id, as `list` shows it
        case: Id,
        #[arg(long, default_value = "")]
        note: String,
        #[arg(long, env = "USER")]
        by: String,
    },
    /// Follow every change, without a gap
    Watch {
        #[arg(long, default_value = "")]
        brand: String,
        #[arg(long)]
        from_start: bool,
    },
}

const HEADINGS: [&str; 7] = ["CASE", "STATE", "BRAND", "CUSTOMER", "WAITING SINCE", "ASSIGNEE", "ABOUT"];

fn row(c: &Case) -> Vec<String> {
    let state = word(c.state().as_str_name(), "CASE_STATE_");
    let customer = if c.customer_handle.is_empty() { &c.customer_key } else { &c.customer_handle };
    let said = c.messages.first().map(|m| cut(&m.text, 50)).unwrap_or_default();
    let waiting = c.waiting_since_us.map(time).unwrap_or_default();
    let about = if c.topic.is_empty() { said } else { format!("{}: {said}", c.topic) };
    vec![id_text(&c.case_id), state, c.brand.clone(), cut(customer, 28), waiting, c.assignee.clone(), about]
}

/// Runs `redress cases`.
///
/// # Errors
/// When the service refuses or cannot be reached.
pub(crate) async fn run(args: CasesArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.at.client()?;
    let format = args.at.peer.format();
    let changed = match args.command {
        Cases::List { brand, assignee, overdue, all, limit } => {
            let states = if all {
                [CaseState::New, CaseState::Open, CaseState::Waiting, CaseState::Resolved]
                    .map(i32::from)
                    .to_vec()
            } else {
                Vec::new()
            };
            let request = ListCasesRequest {
                brand,
                states,
                assignee,
                overdue_only: overdue,
                limit,
                page_token: String::new(),
            };
            list(&mut client, format, request).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Cases::Show { case } => {
            show(&mut client, format, case.bytes()).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Cases::Watch { brand, from_start } => {
            watch(Follow::new(follow::Cases { client, brand, from_start }), format).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Cases::Assign { case, assignee, by } => {
            let request = AssignRequest { case_id: case.bytes(), assignee, by, ..AssignRequest::default() };
            client.assign(request).await
        }
        Cases::Reply { case, text, by, public, waits_for_customer } => {
            let request = RecordReplyRequest {
                case_id: case.bytes(),
                by,
                text,
                is_public: public,
                waits_for_customer,
                ..RecordReplyRequest::default()
            };
            client.record_reply(request).await
        }
        Cases::Promise { case, what, due, owner, by, replaces } => {
            let replaces = replaces.map(|id| id.bytes()).unwrap_or_default();
            let request = PromiseRequest {
                case_id: case.bytes(),
                by,
                what,
                owner,
                due_at_us: due.as_micros(),
                replaces,
                ..PromiseRequest::default()
            };
            client.promise(request).await
        }
        Cases::Keep { case, promise, evidence, by } => {
            let request = KeepRequest {
                case_id: case.bytes(),
                promise_id: promise.bytes(),
                by,
                evidence,
                ..KeepRequest::default()
            };
            client.keep(request).await
        }
        Cases::Resolve { case, note, root_cause, by } => {
            let request =
                ResolveRequest { case_id: case.bytes(), by, note, root_cause, ..ResolveRequest::default() };
            client.resolve(request).await
        }
        Cases::Reopen { case, note, by } => {
            let request = ReopenRequest { case_id: case.bytes(), by, note, ..ReopenRequest::default() };
            client.reopen(request).await
        }
    };
    let case = changed.map_err(refused)?.into_inner().case.context("the service answered without a case")?;
    wire::write_one(format, &case, &HEADINGS, row)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(
    client: &mut ResponseServiceClient<Link>,
    format: Format,
    mut request: ListCasesRequest,
) -> anyhow::Result<()> {
    let wanted = request.limit as usize;
    let mut cases: Vec<Case> = Vec::new();
    loop {
        request.limit = (wanted - cases.len()).min(500) as u32;
        let page = client.list_cases(request.clone()).await.map_err(refused)?.into_inner();
        cases.extend(page.cases);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || cases.len() >= wanted {
            break;
        }
    }
    wire::write(format, &cases, &HEADINGS, row)
}

async fn show(
    client: &mut ResponseServiceClient<Link>,
    format: Format,
    case_id: bytes::Bytes,
) -> anyhow::Result<()> {
    let answer = client.get_case(GetCaseRequest { case_id }).await.map_err(refused)?.into_inner();
    let case = answer.case.context("the service answered without a case")?;
    wire::write_one(format, &case, &HEADINGS, row)?;
    if format != Format::Table {
        return Ok(());
    }
    let words = |name: &str, prefix: &str| word(name, prefix).replace('_', " ");
    let clocks: Vec<Vec<String>> = case
        .clocks
        .iter()
        .map(|c| {
            vec![
                words(c.kind().as_str_name(), "CLOCK_KIND_"),
                words(c.side().as_str_name(), "CLOCK_SIDE_"),
                words(c.state().as_str_name(), "CLOCK_STATE_"),
                c.due_at_us.map(time).unwrap_or_default(),
            ]
        })
        .collect();
    wire::line("")?;
    wire::table(&["CLOCK", "WHOSE", "STATE", "DUE"], &clocks)?;
    for p in &case.promises {
        let state = word(p.state().as_str_name(), "PROMISE_STATE_");
        wire::line(&format!(
            "promise {} ({state}): {} by {}, due {}",
            id_text(&p.promise_id),
            p.what,
            p.owner,
            time(p.due_at_us)
        ))?;
    }
    wire::line("")?;
    wire::write(format, &answer.history, &["AT", "WHAT", "BY", "BECAUSE"], |e: &CaseEvent| {
        vec![time(e.at_us), change(e), e.by.clone(), cut(&e.reason, 80)]
    })
}

fn change(event: &CaseEvent) -> String {
    word(event.change().as_str_name(), "CASE_CHANGE_").replace('_', " ")
}

async fn watch(mut follow: Follow<follow::Cases>, format: Format) -> anyhow::Result<()> {
    while let Some(event) = follow.next().await? {
        wire::line(&match format {
            Format::Table => format!("{}  {}: {}", time(event.at_us), change(&event), event.reason),
            Format::Json | Format::Jsonl => contracts::json::readable(&event).to_string(),
        })?;
    }
    Ok(())
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  redress report --brand acme --from 2026-11-01T00:00:00Z")]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    at: At,
    /// Only this brand
    #[arg(long, default_value = "")]
    brand: String,
    /// From this time on: RFC 3339, or a date (its first moment, UTC)
    #[arg(long, value_name = "TIME", value_parser = wire::moment)]
    from: Option<Timestamp>,
    /// Until before this time
    #[arg(long, value_name = "TIME", value_parser = wire::moment)]
    until: Option<Timestamp>,
}

/// Runs `redress report`.
///
/// # Errors
/// When the service refuses or cannot be reached.
pub(crate) async fn report(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let instant = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_micros);
    let request =
        ReportRequest { brand: args.brand.clone(), from_us: instant(args.from), to_us: instant(args.until) };
    let report = args.at.client()?.report(request).await.map_err(refused)?.into_inner();
    let headings = ["", ""];
    let format = args.at.peer.format();
    if format != Format::Table {
        wire::write_one(format, &report, &headings, |_| Vec::new())?;
        return Ok(ExitCode::SUCCESS);
    }
    let minutes =
        |ms: Option<i64>| ms.map_or("-".to_owned(), |ms| format!("{:.1} min", ms as f64 / 60_000.0));
    let rows = [
        ("cases opened", report.opened.to_string()),
        ("answered", report.answered.to_string()),
        ("never answered", report.unanswered.to_string()),
        ("first answer, median", minutes(report.first_answer_p50_ms)),
        ("first answer, 90 %", minutes(report.first_answer_p90_ms)),
        ("breaches", report.breaches.to_string()),
        ("resolved", report.resolved.to_string()),
        ("reopened", report.reopened.to_string()),
        ("won back", report.won_back.to_string()),
        ("promises made", report.promises_made.to_string()),
        ("promises kept", report.promises_kept.to_string()),
        ("promises broken", report.promises_broken.to_string()),
        ("promises renegotiated", report.promises_renegotiated.to_string()),
    ];
    wire::table(&headings, &rows.map(|(name, value)| vec![name.to_owned(), value]))?;
    Ok(ExitCode::SUCCESS)
}
