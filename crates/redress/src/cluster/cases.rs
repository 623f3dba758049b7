//! `redress cases` and `redress report`: whom we have not answered yet, and what we promised.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use contracts::response::v1::response_service_client::ResponseServiceClient;
use contracts::response::v1::{
    AssignRequest, Case, CaseEvent, CaseState, GetCaseRequest, KeepRequest, ListCasesRequest, PromiseRequest,
    RecordReplyRequest, ReopenRequest, ReportRequest, ResolveRequest, WatchRequest, WatchResponse,
};
use model::Timestamp;
use runtime::net::Link;

use super::wire::{self, Format, Peer, cut, id, id_text, refused, time};

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
    Show { case: String },
    /// Give it to somebody; an empty assignee takes it back
    Assign {
        case: String,
        #[arg(long)]
        assignee: String,
        #[arg(long, env = "USER")]
        by: String,
    },
    /// Record an answer given where Redress cannot see it
    Reply {
        case: String,
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
        case: String,
        #[arg(long)]
        what: String,
        /// RFC 3339
        #[arg(long)]
        due: String,
        /// Who has to keep it
        #[arg(long, default_value = "")]
        owner: String,
        #[arg(long, env = "USER")]
        by: String,
        /// The open promise this one replaces
        #[arg(long)]
        replaces: Option<String>,
    },
    /// Record that a promise was kept
    Keep {
        case: String,
        promise: String,
        #[arg(long, default_value = "")]
        evidence: String,
        #[arg(long, env = "USER")]
        by: String,
    },
    /// End the matter
    Resolve {
        case: String,
        #[arg(long, default_value = "")]
        note: String,
        #[arg(long, default_value = "")]
        root_cause: String,
        #[arg(long, env = "USER")]
        by: String,
    },
    /// Take it up again
    Reopen {
        case: String,
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
    let state = c.state().as_str_name().trim_start_matches("CASE_STATE_").to_lowercase();
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
    let format = args.at.peer.format;
    let case_id = |text: &str| id(text).map(bytes::Bytes::from);
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
            show(&mut client, format, case_id(&case)?).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Cases::Watch { brand, from_start } => {
            watch(&mut client, format, brand, from_start).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Cases::Assign { case, assignee, by } => {
            let request =
                AssignRequest { case_id: case_id(&case)?, assignee, by, ..AssignRequest::default() };
            client.assign(request).await
        }
        Cases::Reply { case, text, by, public, waits_for_customer } => {
            let request = RecordReplyRequest {
                case_id: case_id(&case)?,
                by,
                text,
                is_public: public,
                waits_for_customer,
                ..RecordReplyRequest::default()
            };
            client.record_reply(request).await
        }
        Cases::Promise { case, what, due, owner, by, replaces } => {
            let due = Timestamp::parse_rfc3339(&due).context("--due")?;
            let replaces = replaces.as_deref().map(case_id).transpose()?.unwrap_or_default();
            let request = PromiseRequest {
                case_id: case_id(&case)?,
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
                case_id: case_id(&case)?,
                promise_id: case_id(&promise)?,
                by,
                evidence,
                ..KeepRequest::default()
            };
            client.keep(request).await
        }
        Cases::Resolve { case, note, root_cause, by } => {
            let request = ResolveRequest {
                case_id: case_id(&case)?,
                by,
                note,
                root_cause,
                ..ResolveRequest::default()
            };
            client.resolve(request).await
        }
        Cases::Reopen { case, note, by } => {
            let request = ReopenRequest { case_id: case_id(&case)?, by, note, ..ReopenRequest::default() };
            client.reopen(request).await
        }
    };
    let case = changed.map_err(refused)?.into_inner().case;
    wire::write(format, &Vec::from_iter(case), &HEADINGS, row)?;
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
    let case = Vec::from_iter(answer.case);
    if format != Format::Table {
        return wire::write(format, &case, &HEADINGS, row);
    }
    wire::write(format, &case, &HEADINGS, row)?;
    for case in &case {
        println!();
        let clocks: Vec<Vec<String>> = case
            .clocks
            .iter()
            .map(|c| {
                let word = |name: &str, prefix: &str| {
                    name.trim_start_matches(prefix).to_lowercase().replace('_', " ")
                };
                vec![
                    word(c.kind().as_str_name(), "CLOCK_KIND_"),
                    word(c.side().as_str_name(), "CLOCK_SIDE_"),
                    word(c.state().as_str_name(), "CLOCK_STATE_"),
                    c.due_at_us.map(time).unwrap_or_default(),
                ]
            })
            .collect();
        wire::table(&["CLOCK", "WHOSE", "STATE", "DUE"], &clocks);
        for p in &case.promises {
            let state = p.state().as_str_name().trim_start_matches("PROMISE_STATE_").to_lowercase();
            println!(
                "promise {} ({state}): {} by {}, due {}",
                id_text(&p.promise_id),
                p.what,
                p.owner,
                time(p.due_at_us)
            );
        }
    }
    println!();
    wire::write(format, &answer.history, &["AT", "WHAT", "BY", "BECAUSE"], |e: &CaseEvent| {
        vec![time(e.at_us), change(e), e.by.clone(), cut(&e.reason, 80)]
    })
}

fn change(event: &CaseEvent) -> String {
    event.change().as_str_name().trim_start_matches("CASE_CHANGE_").to_lowercase().replace('_', " ")
}

async fn watch(
    client: &mut ResponseServiceClient<Link>,
    format: Format,
    brand: String,
    from_start: bool,
) -> anyhow::Result<()> {
    let mut resume_token = String::new();
    loop {
        let request = WatchRequest { resume_token: resume_token.clone(), from_start, brand: brand.clone() };
        let mut changes = client.watch(request).await.map_err(refused)?.into_inner();
        loop {
            match changes.message().await {
                Ok(Some(WatchResponse { event: Some(event), resume_token: token })) => {
                    resume_token = token;
                    match format {
                        Format::Table => {
                            println!("{}  {}: {}", time(event.at_us), change(&event), event.reason)
                        }
                        Format::Json | Format::Jsonl => println!("{}", contracts::json::readable(&event)),
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) if status.code() == tonic::Code::Aborted => break,
                Err(status) => return Err(refused(status)),
            }
        }
    }
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
    /// From this time on (RFC 3339)
    #[arg(long)]
    from: Option<String>,
    /// Until before this time
    #[arg(long)]
    until: Option<String>,
}

/// Runs `redress report`.
///
/// # Errors
/// When the service refuses or cannot be reached.
pub(crate) async fn report(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let instant = |text: &Option<String>| match text {
        Some(text) => Timestamp::parse_rfc3339(text).map(Timestamp::as_micros),
        None => Ok(0),
    };
    let request = ReportRequest {
        brand: args.brand.clone(),
        from_us: instant(&args.from).context("--from")?,
        to_us: instant(&args.until).context("--until")?,
    };
    let report = args.at.client()?.report(request).await.map_err(refused)?.into_inner();
    let headings = ["", ""];
    if args.at.peer.format != Format::Table {
        wire::write(args.at.peer.format, &[report], &headings, |_| Vec::new())?;
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
    wire::table(&headings, &rows.map(|(name, value)| vec![name.to_owned(), value]));
    Ok(ExitCode::SUCCESS)
}
