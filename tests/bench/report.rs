//! Medians of rounds as a Markdown table: a line a figure, a column a broker, and the ratio of the two.

use crate::broker::Kind;
use crate::cases::{Case, Found};

/// What all rounds of one case found, by kind of broker.
pub struct Rounds<'a> {
    /// The case.
    pub case: &'a Case,
    /// The runs of each kind, in the order of the columns; none where the case does not suit the kind.
    pub found: Vec<(Kind, Vec<Found>)>,
}

/// The heading of the table.
pub fn heading() -> String {
    "| case | figure | mosquitto | fosquitto | ratio | aim | relay | spread |\n|---|---|---:|---:|---:|---:|---:|---:|".to_owned()
}

impl Rounds<'_> {
    /// The case's lines of the table.
    pub fn lines(&self) -> Vec<String> {
        let figures = self
            .found
            .iter()
            .find_map(|(_, runs)| runs.first())
            .map_or(0, |found| found.figures.len());
        let mut lines: Vec<String> = (0..figures).map(|number| self.line(number)).collect();
        for (kind, runs) in &self.found {
            let (lost, disordered) = runs
                .iter()
                .fold((0, 0), |(a, b), run| (a + run.lost, b + run.disordered));
            if lost + disordered > 0 {
                let what = format!(
                    "{} LOST {lost}, doubled or out of order {disordered}",
                    kind.name()
                );
                lines.push(format!("| {} | **{what}** | | | | | | |", self.case.name));
            }
        }
        lines
    }

    /// Something was lost, doubled or out of order.
    pub fn is_faulty(&self) -> bool {
        self.found
            .iter()
            .any(|(_, runs)| runs.iter().any(|run| run.lost + run.disordered > 0))
    }

    fn line(&self, number: usize) -> String {
        let what = self
            .found
            .iter()
            .find_map(|(_, runs)| runs.first())
            .map_or("", |found| found.figures[number].what);
        let [mosquitto, fosquitto, relay] =
            [Kind::Mosquitto, Kind::Fosquitto, Kind::Relay].map(|kind| self.values(kind, number));
        let ratio = median(&fosquitto)
            .zip(median(&mosquitto))
            .map(|(ours, theirs)| ours / theirs)
            .filter(|ratio| ratio.is_finite());
        let aim = if number == 0 { self.case.aim } else { None };
        let spread = [&mosquitto, &fosquitto]
            .into_iter()
            .filter_map(|values| spread(values))
            .reduce(f64::max);
        format!(
            "| {} | {what} | {} | {} | {} | {} | {} | {} |",
            self.case.name,
            shown(median(&mosquitto)),
            shown(median(&fosquitto)),
            ratio.map_or(String::new(), |ratio| format!("**{ratio:.3}**")),
            aim.map_or(String::new(), |aim| format!("{aim}")),
            shown(median(&relay)),
            spread.map_or(String::new(), |spread| format!("±{:.0} %", spread * 50.0)),
        )
    }

    fn values(&self, kind: Kind, number: usize) -> Vec<f64> {
        let runs = self
            .found
            .iter()
            .filter(|(of, _)| *of == kind)
            .flat_map(|(_, runs)| runs);
        let mut values: Vec<f64> = runs
            .filter_map(|run| Some(run.figures.get(number)?.value))
            .collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// The middle of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(sorted[middle - 1], upper)
    })
}

/// The distance of the largest to the smallest of sorted values, as a share of their median, unless that is 0.
fn spread(sorted: &[f64]) -> Option<f64> {
    let spread = (sorted.last()? - sorted.first()?) / median(sorted)?;
    Some(spread).filter(|spread| spread.is_finite())
}

/// Three or four digits that count.
fn shown(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.abs() < 10.0 => format!("{value:.2}"),
        Some(value) if value.abs() < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}
