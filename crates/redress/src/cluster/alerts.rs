//! `redress alerts`: what is open, who has it, and why.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::alert::v1::{
    AcknowledgeRequest, Decision, Episode, EpisodeState, ExplainRequest, ListEpisodesRequest, ResolveRequest,
    SilenceMatcher, SilenceRequest, WatchRequest, WatchResponse,
};
use runtime::net::Link;

use super::wire::{self, Format, Peer, cut, id, id_text, refused, time};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress alerts list --brand acme
  redress alerts ack 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10 --owner dana
  redress alerts silence --brand acme --topic outage --for 7200 --by dana --comment 'known, fix at 9'
  redress alerts watch --format jsonl")]
pub(crate) struct AlertsArgs {
    /// Where the alert service listens
    #[arg(long, env = "REDRESS_ALERT_URL", default_value = "http://localhost:7704", global = true)]
    to: String,
    #[command(flatten)]
    peer: Peer,
    #[command(subcommand)]
    command: Alerts,
}

#[derive(Debug, Subcommand)]
enum Alerts {
    /// List episodes, newest first
    List {
        /// Only this brand
        #[arg(long)]
        brand: Option<String>,
        /// Resolved ones too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Take an episode: stops escalation and repeats until it expires
    Ack {
        episode: String,
        /// Who takes it
        #[arg(long, env = "USER")]
        owner: String,
        /// Seconds until it counts as untaken again
        #[arg(long, default_value_t = 3_600)]
        expires_in: u32,
        #[arg(long, default_value = "")]
        note: String,
    },
    /// End an episode
    Resolve {
        episode: String,
        #[arg(long, env = "USER")]
        by: String,
        #[arg(long, default_value = "")]
        note: String,
        /// Was the page of use? (kept as feedback)
        #[arg(long)]
        useful: Option<bool>,
    },
    /// Hold back new pages that match (never the end of a page already sent)
    Silence {
        #[arg(long, default_value = "")]
        brand: String,
        #[arg(long, default_value = "")]
        topic: String,
        #[arg(long, default_value = "")]
        rule: String,
        #[arg(long, default_value = "")]
        subject: String,
        /// Seconds
        #[arg(long = "for")]
        seconds: u32,
        #[arg(long, env = "USER")]
        by: String,
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Follow every change, without a gap: after a lost connection it goes on where it stopped
    Watch {
        #[arg(long, default_value = "")]
        brand: String,
        /// Begin with the oldest change kept
        #[arg(long)]
        from_start: bool,
    },
    /// Say why an episode opened, grew, was or was not paged
    Explain { episode: String },
}

const HEADINGS: [&str; 7] = ["EPISODE", "STATE", "BRAND", "SINCE", "PEOPLE", "OWNER", "WHAT"];

fn row(e: &Episode) -> Vec<String> {
    let state = e.state().as_str_name().trim_start_matches("EPISODE_STATE_").to_lowercase();
    vec![
        id_text(&e.episode_id),
        state,
        e.brand.clone(),
        time(e.since_us),
        e.people.to_string(),
        e.owner.clone(),
        cut(&e.title, 70),
    ]
}

/// Runs `redress alerts`.
///
/// # Errors
/// When the service refuses or cannot be reached.
pub(crate) async fn run(args: AlertsArgs) -> anyhow::Result<ExitCode> {
    let mut client = AlertServiceClient::new(args.peer.link(&args.to)?);
    let format = args.peer.format;
    let one = |episode: Option<Episode>| wire::write(format, &Vec::from_iter(episode), &HEADINGS, row);
    match args.command {
        Alerts::List { brand, all, limit } => {
            list(&mut client, format, brand.unwrap_or_default(), all, limit).await?
        }
        Alerts::Ack { episode, owner, expires_in, note } => {
            let request = AcknowledgeRequest {
                episode_id: id(&episode)?.into(),
                owner,
                expires_in_s: expires_in,
                note,
                ..AcknowledgeRequest::default()
            };
            one(client.acknowledge(request).await.map_err(refused)?.into_inner().episode)?;
        }
        Alerts::Resolve { episode, by, note, useful } => {
            let request = ResolveRequest {
                episode_id: id(&episode)?.into(),
                by,
                note,
                useful,
                ..ResolveRequest::default()
            };
            one(client.resolve(request).await.map_err(refused)?.into_inner().episode)?;
        }
        Alerts::Silence { brand, topic, rule, subject, seconds, by, comment } => {
            let matcher = SilenceMatcher { brand, topic, rule, subject };
            let request = SilenceRequest {
                matcher: Some(matcher),
                duration_s: seconds,
                by,
                comment,
                ..SilenceRequest::default()
            };
            let silence = client.silence(request).await.map_err(refused)?.into_inner().silence;
            wire::write(format, &Vec::from_iter(silence), &["SILENCE", "UNTIL", "BY"], |s| {
                vec![s.silence_id.clone(), time(s.ends_at_us), s.created_by.clone()]
            })?;
        }
        Alerts::Explain { episode } => {
            let request = ExplainRequest { episode_id: id(&episode)?.into() };
            let answer = client.explain(request).await.map_err(refused)?.into_inner();
            wire::write(format, &answer.decisions, &["AT", "DECIDED", "BECAUSE"], |d: &Decision| {
                vec![
                    time(d.at_us),
                    d.action.clone(),
                    d.reason.as_ref().map(|r| r.text.clone()).unwrap_or_default(),
                ]
            })?;
        }
        Alerts::Watch { brand, from_start } => watch(&mut client, format, brand, from_start).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    client: &mut AlertServiceClient<Link>,
    format: Format,
    brand: String,
    all: bool,
    limit: u32,
) -> anyhow::Result<()> {
    let mut states = Vec::new();
    if all {
        let every =
            [EpisodeState::Firing, EpisodeState::Acknowledged, EpisodeState::NoData, EpisodeState::Resolved];
        states.extend(every.map(i32::from));
    }
    let mut episodes: Vec<Episode> = Vec::new();
    let mut page_token = String::new();
    while episodes.len() < limit as usize {
        let request = ListEpisodesRequest {
            brand: brand.clone(),
            states: states.clone(),
            limit: (limit - episodes.len() as u32).min(500),
            page_token,
        };
        let page = client.list_episodes(request).await.map_err(refused)?.into_inner();
        episodes.extend(page.episodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    wire::write(format, &episodes, &HEADINGS, row)
}

async fn watch(
    client: &mut AlertServiceClient<Link>,
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
                            let change = event
                                .change()
                                .as_str_name()
                                .trim_start_matches("EPISODE_CHANGE_")
                                .to_lowercase();
                            let title = event.episode.as_ref().map(|e| e.title.clone()).unwrap_or_default();
                            let reason = event.reason.as_ref().map(|r| r.text.clone()).unwrap_or_default();
                            println!("{}  {change}: {title} ({reason})", time(event.at_us));
                        }
                        Format::Json | Format::Jsonl => println!("{}", contracts::json::readable(&event)),
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                // A slow reader is let go and comes back where it stopped.
                Err(status) if status.code() == tonic::Code::Aborted => break,
                Err(status) => return Err(refused(status)),
            }
        }
    }
}
