//! EXPLAIN (FORMAT JSON): the lines of a plan in the shape of PostgreSQL's document.

use serde_json::{Map, Value};

/// A line of a plan in words, `Index Scan using i on t  (rows=3)`, as a node without its details.
fn node(line: &str) -> Map<String, Value> {
    let mut node = Map::new();
    let (title, numbers) =
        line.find(" (rows=").or_else(|| line.find(" (actual ")).map_or((line, ""), |at| line.split_at(at));
    let title = title.trim_end().trim_end_matches(" (by key, no query plan)");
    // The index stands before the relation, or behind it.
    let (kind, relation) = title.split_once(" on ").map_or((title, None), |(kind, relation)| (kind, Some(relation)));
    let (kind, before) = kind.split_once(" using ").map_or((kind, None), |(kind, index)| (kind, Some(index)));
    let (relation, behind) = match relation.and_then(|relation| relation.split_once(" using ")) {
        Some((relation, index)) => (Some(relation), Some(index)),
        None => (relation, None),
    };
    let index = before.or(behind);
    node.insert("Node Type".into(), kind.into());
    if let Some(index) = index {
        node.insert("Index Name".into(), index.into());
    }
    if let Some(relation) = relation {
        let (name, alias) = relation.split_once(' ').unwrap_or((relation, relation));
        node.insert("Relation Name".into(), name.into());
        node.insert("Alias".into(), alias.into());
    }
    for group in numbers.split('(').skip(1) {
        let group = group.trim_end().trim_end_matches(')');
        let (prefix, rest) = group.strip_prefix("actual ").map_or(("Plan", group), |rest| ("Actual", rest));
        for (key, value) in rest.split(' ').filter_map(|pair| pair.split_once('=')) {
            let key = match key {
                "rows" => "Rows",
                "time" => "Total Time",
                other => other,
            };
            node.insert(format!("{prefix} {key}"), number(value));
        }
    }
    node
}

/// A number, where it is one.
fn number(text: &str) -> Value {
    let whole = text.parse::<u64>().ok().map(Value::from);
    let number = whole.or_else(|| text.parse::<f64>().ok().map(Value::from));
    number.unwrap_or_else(|| text.into())
}

/// Takes the deepest node off the path and gives it to the one above, until no more than `depth` are left.
fn close(path: &mut Vec<Map<String, Value>>, depth: usize) {
    while path.len() > depth.max(1) {
        let Some(done) = path.pop() else { return };
        if let Some(above) = path.last_mut()
            && let Value::Array(plans) = above.entry("Plans").or_insert_with(|| Value::Array(Vec::new()))
        {
            plans.push(Value::Object(done));
        }
    }
}

/// The document of a plan whose lines are those of EXPLAIN in words. `above`: what is done with the rows of the plan.
pub(super) fn document(above: Option<&str>, lines: &[String]) -> String {
    let mut document = Map::new();
    let mut path: Vec<Map<String, Value>> = above.map(node).into_iter().collect();
    let first = path.len();
    let mut started = false;
    for line in lines {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(title) = text.strip_prefix("->  ") {
            close(&mut path, first + (indent + 4) / 6);
            path.push(node(title));
        } else if indent == 0 && !started && !text.contains(": ") {
            path.push(node(text));
        } else if let Some((key, value)) = text.split_once(": ") {
            let place = match path.last_mut() {
                Some(node) if indent > 0 => node,
                _ => &mut document,
            };
            place.insert(key.into(), number(value.strip_suffix(" ms").unwrap_or(value)));
        }
        started = true;
    }
    close(&mut path, 1);
    document.insert("Plan".into(), path.pop().map_or(Value::Null, Value::Object));
    let document = Value::Array(vec![Value::Object(document)]);
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_nested_as_its_lines_are() {
        let lines = [
            "Hash Join  (rows=3) (actual time=0.250 rows=2)",
            "  Hash Cond: (a = b)",
            "  ->  Seq Scan on t x  (rows=7)",
            "        Filter: (a > 1)",
            "  ->  Sort",
            "        ->  Index Scan using i on u",
            "Planning Time: 0.125 ms",
        ];
        let lines: Vec<String> = lines.map(str::to_owned).into();
        let read: Value = serde_json::from_str(&document(None, &lines)).unwrap();
        let plan = &read[0]["Plan"];
        assert_eq!(plan["Node Type"], "Hash Join");
        assert_eq!((&plan["Plan Rows"], &plan["Actual Rows"]), (&3.into(), &2.into()));
        assert_eq!(plan["Hash Cond"], "(a = b)");
        assert_eq!(plan["Plans"][0]["Relation Name"], "t");
        assert_eq!(plan["Plans"][0]["Alias"], "x");
        assert_eq!(plan["Plans"][0]["Filter"], "(a > 1)");
        assert_eq!(plan["Plans"][1]["Plans"][0]["Index Name"], "i");
        assert_eq!(read[0]["Planning Time"], 0.125);
        let read: Value = serde_json::from_str(&document(Some("Insert on v"), &lines)).unwrap();
        assert_eq!(read[0]["Plan"]["Relation Name"], "v");
        assert_eq!(read[0]["Plan"]["Plans"][0]["Plans"][1]["Node Type"], "Sort");
    }
}
