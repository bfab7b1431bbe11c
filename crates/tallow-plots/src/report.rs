//! A run as one HTML file: what was configured, how the loss fell, what was sampled, what it came to.
//!
//! Nothing in it is fetched: pictures are inline SVG, or PNG and GIF in base64, and a policy in the head forbids the rest.
//! The reader's own choice of light or dark holds for pictures, too: each is drawn in both.

use std::path::Path;

use crate::drawing::Drawing;
use crate::html::{escaped, image, is_number, picture};
use crate::style::Style;
use crate::{Result, file};

/// Collects tables and pictures of a run into one file that needs no network.
///
/// ```
/// # use tallow_plots::{Curves, Report};
/// let loss: Vec<[f64; 2]> = (1..100).map(f64::from).map(|step| [step, 1.0 / step]).collect();
/// let html = Report::new("checkerboard, seed 0")
///     .facts("Configuration", &[("steps", 9000), ("batch", 512)])
///     .section("Training")
///     .figure("Loss of each step", |style| Curves::new("").x("step").y_log("loss").line("", &loss).style(style).drawing())?
///     .table("Metrics", &["metric", "value"], &[["W2", "0.07"], ["energy distance", "0.001"]])
///     .to_html();
/// assert!(html.starts_with("<!doctype html>"));
/// # Ok::<(), tallow_plots::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    lead: String,
    sections: Vec<Section>,
}

/// A heading and what stands under it: tables, then a row of figures.
#[derive(Clone, Debug, Default)]
struct Section {
    heading: String,
    tables: Vec<String>,
    figures: Vec<String>,
}

impl Report {
    /// A report without content yet.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            lead: String::new(),
            sections: Vec::new(),
        }
    }

    /// Sets the line under the title.
    #[must_use]
    pub fn lead(mut self, text: impl Into<String>) -> Self {
        self.lead = text.into();
        self
    }

    /// Begins a section; what follows stands in it.
    #[must_use]
    pub fn section(mut self, heading: impl Into<String>) -> Self {
        self.sections.push(Section {
            heading: heading.into(),
            ..Section::default()
        });
        self
    }

    /// Adds a section of names and values, such as a configuration.
    #[must_use]
    pub fn facts<N: AsRef<str>, V: ToString>(self, heading: impl Into<String>, facts: &[(N, V)]) -> Self {
        let rows = facts.iter().map(|(name, value)| {
            let (name, value) = (escaped(name.as_ref()), escaped(&value.to_string()));
            format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n")
        });
        let table = format!(
            "<table>\n<tbody>\n{}</tbody>\n</table>\n",
            rows.collect::<String>()
        );
        self.section(heading).with_table(table)
    }

    /// Adds a section with a table; columns of numbers are aligned on the right. Rows may be shorter than the head.
    #[must_use]
    pub fn table<H, C, R>(self, heading: impl Into<String>, head: &[H], rows: &[R]) -> Self
    where
        H: AsRef<str>,
        C: AsRef<str>,
        R: AsRef<[C]>,
    {
        let cells = |column: usize| rows.iter().filter_map(move |row| row.as_ref().get(column));
        let class = |column: usize| {
            let numbers = cells(column).count() > 0 && cells(column).all(|cell| is_number(cell.as_ref()));
            if numbers { " class=\"number\"" } else { "" }
        };
        let mut table = String::from("<table>\n<thead><tr>");
        for (column, name) in head.iter().enumerate() {
            let (class, name) = (class(column), escaped(name.as_ref()));
            table += &format!("<th scope=\"col\"{class}>{name}</th>");
        }
        table += "</tr></thead>\n<tbody>\n";
        for row in rows {
            table += "<tr>";
            for (column, cell) in row.as_ref().iter().enumerate() {
                table += &format!("<td{}>{}</td>", class(column), escaped(cell.as_ref()));
            }
            table += "</tr>\n";
        }
        table += "</tbody>\n</table>\n";
        self.section(heading).with_table(table)
    }

    /// Adds a picture, drawn once for light and once for dark readers: `draw` is given the style of each.
    ///
    /// # Errors
    ///
    /// When it cannot be drawn or encoded.
    pub fn figure(self, caption: impl AsRef<str>, draw: impl Fn(Style) -> Result<Drawing>) -> Result<Self> {
        let caption = caption.as_ref();
        let both = [("light", Style::light()), ("dark", Style::dark())];
        let mut content = String::new();
        for (class, style) in both {
            content += &picture(class, caption, style, &draw)?;
        }
        Ok(self.with_figure(&content, caption))
    }

    /// Adds an animation, drawn once for light and once for dark readers: `draw` makes the bytes of a GIF file.
    ///
    /// # Errors
    ///
    /// When it cannot be drawn or encoded.
    pub fn animation(
        self,
        caption: impl AsRef<str>,
        draw: impl Fn(Style) -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let caption = caption.as_ref();
        let both = [("light", Style::light()), ("dark", Style::dark())];
        let mut content = String::new();
        for (class, style) in both {
            content += &image(class, caption, "gif", &draw(style)?, None);
        }
        Ok(self.with_figure(&content, caption))
    }

    /// The document.
    #[must_use]
    pub fn to_html(&self) -> String {
        let title = escaped(&self.title);
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
            include_str!("report.css")
        );
        if !self.lead.is_empty() {
            html += &format!("<p class=\"lead\">{}</p>\n", escaped(&self.lead));
        }
        for section in &self.sections {
            html += "<section>\n";
            if !section.heading.is_empty() {
                html += &format!("<h2>{}</h2>\n", escaped(&section.heading));
            }
            for table in &section.tables {
                html += &format!("<div class=\"wide\">\n{table}</div>\n");
            }
            if !section.figures.is_empty() {
                html += &format!("<div class=\"figures\">\n{}</div>\n", section.figures.concat());
            }
            html += "</section>\n";
        }
        html + "</main>\n</body>\n</html>\n"
    }

    /// Writes the report as `.html`.
    ///
    /// # Errors
    ///
    /// When the path ends otherwise, or the folder cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if file::ending(path) != "html" {
            return Err(crate::Error::Extension {
                path: path.to_owned(),
                allowed: ".html",
            });
        }
        file::replace(path, self.to_html().as_bytes())
    }

    fn last(&mut self) -> Option<&mut Section> {
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        self.sections.last_mut()
    }

    fn with_table(mut self, table: String) -> Self {
        if let Some(section) = self.last() {
            section.tables.push(table);
        }
        self
    }

    fn with_figure(mut self, content: &str, caption: &str) -> Self {
        let caption = escaped(caption);
        if let Some(section) = self.last() {
            section.figures.push(format!(
                "<figure>\n{content}<figcaption>{caption}</figcaption>\n</figure>\n"
            ));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Animation, Curves, Error, Scatter};

    const HOSTILE: &str = "<script>alert(1)</script> \" onload='x' & \u{1}";

    fn report() -> Report {
        let points: Vec<[f64; 2]> = (0..4000)
            .map(|i| f64::from(i).sin_cos())
            .map(|(y, x)| [x, y])
            .collect();
        Report::new(HOSTILE)
            .lead(HOSTILE)
            .facts(HOSTILE, &[(HOSTILE, HOSTILE)])
            .table(HOSTILE, &["name", "value"], &[["a", "1.5"], [HOSTILE, "−2e3"]])
            .section("Pictures")
            .figure(HOSTILE, |style| {
                Curves::new(HOSTILE)
                    .line(HOSTILE, &points[..9])
                    .style(style)
                    .drawing()
            })
            .unwrap()
            .figure("many dots", |style| {
                Scatter::new("").panel("", &points).style(style).drawing()
            })
            .unwrap()
            .animation("film", |style| {
                Animation::new().frame("", &points[..5]).style(style).to_gif()
            })
            .unwrap()
    }

    #[test]
    fn a_text_cannot_leave_its_place() {
        let html = report().to_html();
        assert!(!html.contains("<script"));
        for (at, _) in html.match_indices('<') {
            let tag = html[at..].split('>').next().unwrap();
            assert!(!tag.contains("onload='"), "{tag}");
        }
        assert!(!html.contains('\u{1}'));
        assert_eq!(
            html.matches("&lt;script&gt;alert(1)").count(),
            html.matches("alert(1)").count()
        );
    }

    #[test]
    fn nothing_is_fetched() {
        let html = report().to_html();
        let addresses = html.matches("http").count();
        let namespaces = html.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
        assert_eq!(addresses, namespaces + html.matches("http-equiv").count());
        for attribute in ["src=\"", "href=\""] {
            for (at, _) in html.match_indices(attribute) {
                assert!(html[at + attribute.len()..].starts_with("data:image/"));
            }
        }
        assert!(!html.contains("url(") && !html.contains("@import"));
    }

    #[test]
    fn every_figure_is_there_for_light_and_for_dark_readers() {
        let html = report().to_html();
        for class in ["class=\"light\"", "class=\"dark\""] {
            assert_eq!(html.matches(class).count(), 3, "{class}");
        }
        assert_eq!(html.matches("data:image/png").count(), 2, "many dots are pixels");
        assert_eq!(html.matches("data:image/gif").count(), 2);
    }

    #[test]
    fn the_same_run_makes_the_same_bytes() {
        assert_eq!(report().to_html(), report().to_html());
    }

    #[test]
    fn tags_close_in_the_order_in_which_they_opened() {
        let html = report().to_html();
        let alone = ["meta", "img", "!doctype"];
        let mut open: Vec<&str> = Vec::new();
        for (at, _) in html.match_indices('<') {
            let tag = html[at + 1..].split('>').next().unwrap();
            let name = tag
                .trim_start_matches('/')
                .split([' ', '/', '\n'])
                .next()
                .unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') && !alone.contains(&name) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn numbers_stand_on_the_right_and_other_endings_are_refused() {
        let html = report().to_html();
        assert_eq!(html.matches("<td class=\"number\">").count(), 2);
        assert!(matches!(
            report().save("report.htm"),
            Err(Error::Extension { .. })
        ));
    }
}
