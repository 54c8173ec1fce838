//! `top` without a terminal: what the screen holds after news and keys.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use secbeat_proto::v1::{Event, FleetStats, NodeInfo, NodeLoad, Threat};

use super::draw;
use super::feed::{BanOrder, Update};
use super::keys::{Step, press};
use super::model::{EVENTS_MAX, Mode, Tab, View, Word, word};

fn screen(view: &View, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let lines = buffer.content.chunks(usize::from(width));
    lines.map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
}

fn key(view: &mut View, code: KeyCode) -> Step {
    press(view, KeyEvent::new(code, KeyModifiers::NONE))
}

fn typed(view: &mut View, text: &str) {
    for c in text.chars() {
        key(view, KeyCode::Char(c));
    }
}

fn node(name: &str, drops: f64) -> NodeInfo {
    NodeInfo {
        hostname: name.into(),
        state: 2,
        is_connected: true,
        is_in_sync: true,
        applied_revision: 7,
        load: Some(NodeLoad { drops_per_second: drops, ..NodeLoad::default() }),
        ..NodeInfo::default()
    }
}

fn view() -> View {
    let mut view = View::new("http://127.0.0.1:9443", false);
    let stats = FleetStats {
        nodes_total: 2,
        nodes_connected: 2,
        nodes_in_sync: 2,
        policy_revision: 7,
        attacks_active: 1,
        load: Some(NodeLoad { packets_per_second: 1.5e6, drops_per_second: 9e5, ..NodeLoad::default() }),
        ..FleetStats::default()
    };
    view.take(Update::Fleet((stats, vec![node("edge-1", 5.0), node("edge-2", 900_000.0)])));
    let threat = Threat { client_ip: "203.0.113.7".into(), events: 12, ..Threat::default() };
    view.take(Update::Lists((Vec::new(), vec![threat])));
    view
}

#[test]
fn the_first_screen_says_how_the_fleet_is() {
    let text = screen(&view(), 80, 24);
    for part in ["UNDER ATTACK", "1.5Mpps", "dropped 900kpps", "2/2 nodes connected", "edge-1", "in sync @7"]
    {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(text.lines().last().unwrap().contains("q end"));
}

#[test]
fn small_screens_are_cut_and_not_an_error() {
    for (width, height) in [(1, 1), (10, 3), (40, 6), (300, 80)] {
        screen(&view(), width, height);
    }
}

#[test]
fn the_word_follows_attacks_and_drops() {
    let load = |packets, drops| {
        Some(NodeLoad { packets_per_second: packets, drops_per_second: drops, ..NodeLoad::default() })
    };
    let stats = |attacks_active, load| FleetStats { attacks_active, load, ..FleetStats::default() };
    assert_eq!(word(&stats(1, None)), Word::UnderAttack);
    assert_eq!(word(&stats(0, load(1e6, 2e4))), Word::Elevated);
    assert_eq!(word(&stats(0, load(1e6, 9e3))), Word::Normal);
    assert_eq!(word(&stats(0, load(1e2, 5e1))), Word::Normal);
}

#[test]
fn keys_order_filter_and_pause() {
    let mut view = view();
    assert_eq!(view.rows()[0].fields[0].text, "edge-1");
    while view.tab.columns()[view.sort()].0 != "DROPS/S" {
        key(&mut view, KeyCode::Char('s'));
    }
    assert_eq!(view.rows()[0].fields[0].text, "edge-2");
    key(&mut view, KeyCode::Char('f'));
    typed(&mut view, "EDGE-1");
    key(&mut view, KeyCode::Enter);
    assert_eq!(view.rows().len(), 1);
    key(&mut view, KeyCode::Esc);
    key(&mut view, KeyCode::Char('p'));
    view.take(Update::Fleet((FleetStats::default(), Vec::new())));
    assert_eq!(view.rows().len(), 2);
    assert!(screen(&view, 80, 24).contains("PAUSED"));
    key(&mut view, KeyCode::Char('p'));
    assert_eq!(view.rows().len(), 0);
}

#[test]
fn a_ban_needs_how_long_and_why() {
    let mut view = view();
    key(&mut view, KeyCode::Char('b'));
    assert_eq!(view.mode, Mode::Browse, "a node has no address to ban");
    key(&mut view, KeyCode::Char('4'));
    assert_eq!(view.tab, Tab::Threats);
    key(&mut view, KeyCode::Char('b'));
    assert!(screen(&view, 80, 24).contains("ban 203.0.113.7 for"));
    assert_eq!(key(&mut view, KeyCode::Enter), Step::Stay);
    assert!(view.message.contains("why"));
    typed(&mut view, "scans ports");
    let order = BanOrder {
        address: "203.0.113.7".into(),
        duration: std::time::Duration::from_secs(3_600),
        reason: "scans ports".into(),
    };
    assert_eq!(key(&mut view, KeyCode::Enter), Step::Ban(order));
}

#[test]
fn q_leaves_and_control_c_interrupts() {
    let mut view = view();
    assert_eq!(press(&mut view, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Step::Interrupt);
    assert_eq!(key(&mut view, KeyCode::Char('?')), Step::Stay);
    assert!(screen(&view, 80, 24).contains("ban the address"));
    key(&mut view, KeyCode::Char('x'));
    assert_eq!(key(&mut view, KeyCode::Char('q')), Step::Leave);
}

#[test]
fn events_are_bounded_newest_first_and_never_twice() {
    let mut view = view();
    let event = |id: u64| Event { id, client_ip: "\x1b[2Jx".into(), ..Event::default() };
    view.take(Update::Events((1..=300).map(event).collect(), 0));
    view.take(Update::Events((200..=700).map(event).collect(), 3));
    let shown = view.shown();
    assert_eq!(shown.events.len(), EVENTS_MAX);
    assert_eq!((shown.events[0].id, shown.events[EVENTS_MAX - 1].id), (700, 201));
    assert_eq!(shown.lost, 3);
    view.open(Tab::Events);
    assert!(!screen(&view, 80, 24).contains('\x1b'));
}

#[test]
fn trouble_takes_the_first_line_until_there_is_news() {
    let mut view = view();
    view.take(Update::Trouble("cannot reach it".into()));
    assert!(screen(&view, 80, 24).contains("NO NEWS"));
    view.take(Update::Fleet((FleetStats::default(), Vec::new())));
    assert!(!screen(&view, 80, 24).contains("NO NEWS"));
}
