//! The screen of `top`: state word and rates, the tabs, one list, one line for keys and typing. 80 x 24 is enough;
//! less is cut, never an error.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Clear, Paragraph, Row, Table, TableState};

use super::model::{Mode, Snapshot, Tab, View};
use crate::output::Tone;
use crate::output::text::{now_ms, relative, short_number};

const HELP: [&str; 12] = [
    "1-4, Tab    choose a list",
    "up, down    choose a row (also k, j)",
    "s           order by the next column",
    "f, /        show only rows with a text",
    "Esc         show all rows again",
    "p           stop the screen, go on",
    "b           ban the address of the row",
    "q           end",
    "",
    "UNDER ATTACK  a node says so",
    "ELEVATED      1 % of the packets are dropped, and 100 a second",
    "NORMAL        neither",
];

fn style(view: &View, tone: Tone) -> Style {
    let style = Style::new();
    if !view.has_color {
        return if tone == Tone::Bad { style.add_modifier(Modifier::BOLD) } else { style };
    }
    match tone {
        Tone::Plain => style,
        Tone::Good => style.fg(Color::Green),
        Tone::Warning => style.fg(Color::Yellow),
        Tone::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
        Tone::Dim => style.fg(Color::DarkGray),
    }
}

/// Paints everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let [head, tabs, list, foot] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(header(view)), head);
    frame.render_widget(Paragraph::new(tab_line(view)), tabs);
    draw_list(frame, view, list);
    frame.render_widget(Paragraph::new(foot_line(view)), foot);
    if view.mode == Mode::Help {
        draw_help(frame, list);
    }
}

/// Totals as pairs, for the screen and for `--once`.
pub(super) fn header_rows(shown: &Snapshot) -> Vec<(&'static str, String)> {
    let stats = &shown.stats;
    let load = stats.load.unwrap_or_default();
    vec![
        (
            "traffic",
            format!(
                "in {}pps {}bit/s  dropped {}pps  requests {}/s  connections {}",
                short_number(load.packets_per_second),
                short_number(load.bits_per_second_in),
                short_number(load.drops_per_second),
                short_number(load.requests_per_second),
                short_number(load.connections as f64),
            ),
        ),
        (
            "fleet",
            format!(
                "{}/{} nodes connected, {} in sync @{}  cpu {:.0}%  attacks {}",
                stats.nodes_connected,
                stats.nodes_total,
                stats.nodes_in_sync,
                stats.policy_revision,
                load.cpu_percent,
                stats.attacks_active,
            ),
        ),
        (
            "events",
            format!(
                "{} stored, {} lost  bans {}",
                short_number(stats.events_stored as f64),
                short_number(stats.events_lost.saturating_add(shown.lost) as f64),
                short_number(stats.bans as f64),
            ),
        ),
    ]
}

fn header(view: &View) -> Vec<Line<'static>> {
    let mut first = vec![Span::styled(format!(" {} ", view.word.text()), style(view, view.word.tone()))];
    if view.word_since_ms != 0 {
        let since = relative(view.word_since_ms, now_ms()).replace(" ago", "");
        first.push(Span::raw(format!(" for {since}")));
    }
    first.push(Span::styled(format!("  {}", view.server), style(view, Tone::Dim)));
    if view.is_paused() {
        first.push(Span::styled("  PAUSED", style(view, Tone::Warning)));
    }
    if let Some(why) = &view.trouble {
        first = vec![Span::styled(" NO NEWS ", style(view, Tone::Bad)), Span::raw(format!(" {why}"))];
    }
    let mut lines = vec![Line::from(first)];
    for (name, text) in header_rows(view.shown()) {
        lines.push(Line::from(vec![
            Span::styled(format!(" {name:8}"), style(view, Tone::Dim)),
            Span::raw(text),
        ]));
    }
    lines
}

fn tab_line(view: &View) -> Line<'static> {
    let shown = view.shown();
    let mut spans = Vec::new();
    for (index, tab) in Tab::ALL.into_iter().enumerate() {
        let count = match tab {
            Tab::Nodes => shown.nodes.len(),
            Tab::Events => shown.events.len(),
            Tab::Bans => shown.bans.len(),
            Tab::Threats => shown.threats.len(),
        };
        let mark = if tab == view.tab { Modifier::REVERSED } else { Modifier::empty() };
        let title = format!(" {} {} ({count}) ", index + 1, tab.title());
        spans.push(Span::styled(title, Style::new().add_modifier(mark)));
    }
    if !view.filter.is_empty() {
        spans.push(Span::raw(format!("  only `{}`", view.filter)));
    }
    Line::from(spans)
}

fn draw_list(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let columns = view.tab.columns();
    let last = columns.len() - 1;
    let widths = columns.iter().enumerate().map(|(index, (_, width))| {
        if index == last { Constraint::Min(*width) } else { Constraint::Length(*width) }
    });
    let heads = columns.iter().enumerate().map(|(index, (head, _))| {
        let mark = if index == view.sort() { Modifier::UNDERLINED } else { Modifier::empty() };
        Cell::from(*head).style(style(view, Tone::Dim).add_modifier(mark))
    });
    let rows = view.rows();
    let count = rows.len();
    let rows = rows.into_iter().map(|row| {
        let fields = row.fields.into_iter();
        Row::new(fields.map(|field| {
            let style = style(view, field.tone);
            Cell::from(field.text).style(style)
        }))
    });
    let table = Table::new(rows, widths)
        .header(Row::new(heads))
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = (count > 0).then(|| view.selected.min(count - 1));
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn foot_line(view: &View) -> Line<'static> {
    match &view.mode {
        Mode::Filter => Line::from(format!(" only rows with: {}_", view.filter)),
        Mode::Ban { address, typed } => {
            let why = if view.message.is_empty() { String::new() } else { format!("  ({})", view.message) };
            Line::from(format!(" ban {address} for (how long, why): {typed}_{why}"))
        }
        _ if !view.message.is_empty() => {
            Line::from(Span::styled(format!(" {}", view.message), style(view, Tone::Warning)))
        }
        _ => Line::from(Span::styled(
            " q end  p pause  s order  f filter  b ban  ? help",
            style(view, Tone::Dim),
        )),
    }
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP.map(Line::from).to_vec()), area);
}
