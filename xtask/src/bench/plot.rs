//! Bars, as SVG: a group of them for each workload, a bar for each peer.

/// A workload's name, and for each peer its length and what is written at its end.
pub struct Bars {
    pub label: String,
    pub bars: Vec<(usize, f64, String)>,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 190.0;
const BAR: f64 = 11.0;
const GAP: f64 = 12.0;
const TOP: f64 = 76.0;
/// The length at which a bar is cut off; what it would be is written at its end.
const MOST: f64 = 3.0;
/// Distinct in grey and for those who see few colours too; ours is the dark one.
const COLOURS: [&str; 6] = ["#123a5c", "#e08a1e", "#5aa469", "#8f8f8f", "#b3507c", "#c9c9c9"];

/// `names` are the peers; a bar's first field is a place in them.
pub fn svg(title: &str, subtitle: &str, names: &[&str], groups: &[Bars]) -> String {
    let height = TOP + groups.iter().map(|group| group.bars.len() as f64 * BAR + GAP).sum::<f64>() + 10.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    out += &text(16.0, 24.0, "start", "font-size=\"16\"", title);
    out += &text(16.0, 42.0, "start", "font-size=\"9\" fill=\"#555\"", subtitle);
    for (at, name) in names.iter().enumerate() {
        let x = LEFT + at as f64 * 90.0;
        out += &rectangle(x, 54.0, 10.0, 10.0, colour(at));
        out += &text(x + 14.0, 63.0, "start", "", name);
    }
    // Drawn first, so that bars and words lie above it.
    let one = LEFT + unit();
    out += &format!(
        "<line x1=\"{one}\" y1=\"{TOP}\" x2=\"{one}\" y2=\"{}\" stroke=\"#999\" stroke-dasharray=\"3 3\"/>\n",
        height - 10.0
    );
    let mut y = TOP;
    for group in groups {
        out += &self::group(group, y);
        y += group.bars.len() as f64 * BAR + GAP;
    }
    out + "</svg>\n"
}

fn group(group: &Bars, y: f64) -> String {
    let middle = y + group.bars.len() as f64 * BAR / 2.0 + 4.0;
    let mut out = text(LEFT - 8.0, middle, "end", "", &group.label);
    for (at, (peer, length, label)) in group.bars.iter().enumerate() {
        let (y, width) = (y + at as f64 * BAR, length.clamp(0.0, MOST) * unit());
        out += &rectangle(LEFT, y, width, BAR - 1.5, colour(*peer));
        let cut = if *length > MOST { " (cut off)" } else { "" };
        out += &text(LEFT + width + 4.0, y + BAR - 2.5, "start", "font-size=\"9\"", &format!("{label}{cut}"));
    }
    out
}

/// The length that stands for 1; there is room for words at the end of the longest.
fn unit() -> f64 {
    (WIDTH - LEFT - 110.0) / MOST
}

fn colour(peer: usize) -> &'static str {
    COLOURS[peer % COLOURS.len()]
}

fn rectangle(x: f64, y: f64, width: f64, height: f64, fill: &str) -> String {
    format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{fill}\"/>\n")
}

fn text(x: f64, y: f64, anchor: &str, style: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{words}</text>\n")
}
