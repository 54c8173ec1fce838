//! What keys do in `top`.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::BanOrder;
use super::model::{Mode, Tab, View};

/// Characters that can be typed into the last line.
const TYPED_CHARS_MAX: usize = 200;

/// What happens after a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Leave,
    Interrupt,
    Ban(BanOrder),
}

pub(super) fn press(view: &mut View, key: KeyEvent) -> Step {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Step::Interrupt } else { Step::Stay };
    }
    match view.mode {
        Mode::Browse => return browse(view, key.code),
        Mode::Help => view.mode = Mode::Browse,
        Mode::Filter => filter(view, key.code),
        Mode::Ban { .. } => return ban(view, key.code),
    }
    Step::Stay
}

fn browse(view: &mut View, key: KeyCode) -> Step {
    view.message.clear();
    let place = view.tab as usize;
    let tabs = Tab::ALL.len();
    let rows = view.rows().len();
    match key {
        KeyCode::Char('q') => return Step::Leave,
        KeyCode::Char('?' | 'h') => view.mode = Mode::Help,
        KeyCode::Char('p' | ' ') => view.pause(),
        KeyCode::Char('s') => view.sort_next(),
        KeyCode::Char('f' | '/') => view.mode = Mode::Filter,
        KeyCode::Char('b') => match view.selected_address() {
            Some(address) => view.mode = Mode::Ban { address, typed: "1h ".to_owned() },
            None => view.message = "choose an event or a threat with an address".to_owned(),
        },
        KeyCode::Char(digit @ '1'..='4') => view.open(Tab::ALL[digit as usize - '1' as usize]),
        KeyCode::Tab | KeyCode::Right => view.open(Tab::ALL[(place + 1) % tabs]),
        KeyCode::BackTab | KeyCode::Left => view.open(Tab::ALL[(place + tabs - 1) % tabs]),
        KeyCode::Down | KeyCode::Char('j') => view.selected = (view.selected + 1).min(rows.saturating_sub(1)),
        KeyCode::Up | KeyCode::Char('k') => view.selected = view.selected.min(rows).saturating_sub(1),
        KeyCode::Esc => view.filter.clear(),
        _ => {}
    }
    Step::Stay
}

fn filter(view: &mut View, key: KeyCode) {
    match key {
        KeyCode::Enter => view.mode = Mode::Browse,
        KeyCode::Esc => {
            view.filter.clear();
            view.mode = Mode::Browse;
        }
        key => edit(&mut view.filter, key),
    }
    view.selected = 0;
}

fn ban(view: &mut View, key: KeyCode) -> Step {
    let Mode::Ban { address, typed } = &mut view.mode else { return Step::Stay };
    match key {
        KeyCode::Esc => view.mode = Mode::Browse,
        KeyCode::Enter => match parse(address, typed) {
            Ok(order) => {
                view.message = format!("banning {}", order.address);
                view.mode = Mode::Browse;
                return Step::Ban(order);
            }
            Err(why) => view.message = why,
        },
        key => edit(typed, key),
    }
    Step::Stay
}

/// `1h scans ports`: a ban has an end and a reason.
fn parse(address: &str, typed: &str) -> Result<BanOrder, String> {
    let (duration, reason) = typed.trim().split_once(' ').unwrap_or((typed.trim(), ""));
    let duration =
        humantime::parse_duration(duration).map_err(|_| "begin with how long, as in 1h or 7d".to_owned())?;
    let reason = reason.trim();
    if reason.is_empty() {
        return Err("say why, after how long".to_owned());
    }
    Ok(BanOrder { address: address.to_owned(), duration, reason: reason.to_owned() })
}

fn edit(text: &mut String, key: KeyCode) {
    match key {
        KeyCode::Char(c) if text.chars().count() < TYPED_CHARS_MAX => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        _ => {}
    }
}
