//! `[[policy]]` and all in it.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::time::Duration;

use super::super::bounds::{AFTER, DURATIONS, MAX_SCHEDULES, MOST};
use super::super::controller::{self, FARTHEST_BAND, LEADS, MAX_BANDS};
use super::super::metric::{self, AGES, AGGREGATIONS, LATENCIES, LONGEST_WINDOW, READS};
use super::super::policy::{INTERVALS, MODES, PERIODS, UP_TO_A_DAY, UP_TO_AN_HOUR};
use super::{Keys, NAME, REGION, Rule, URL, Value, optional, preset, required, text, words};
use crate::policy::{MAX_METRICS, MAX_SIGNALS};

/// `[[policy]]`.
pub(super) static POLICY: Keys = Keys {
    keys: &[
        required("name", NAME, "In logs, metrics and the API."),
        required("asg", ASG, "The Auto Scaling group."),
        optional("region", REGION, "The region of this group, where it is not the one of `[aws]`."),
        preset(
            "mode",
            Value::Word(&words(&MODES)),
            r#""observe""#,
            "`observe`: decide and say so, never act. `active`: act. `scale-out-only`: never remove. `paused`: leave the group alone.",
        ),
        preset(
            "takeover",
            Value::Boolean,
            "false",
            "Act even though AWS has a scaling policy of its own enabled on the group.",
        ),
        optional(
            "interval",
            Value::Duration(INTERVALS),
            "Time between two evaluations. Left out: the daemon's `interval`.",
        ),
        required(
            "min",
            Value::Integer(0..=MOST),
            "The least instances; the group's own MinSize holds as well. 0 needs a metric of kind `total`, since without instances there is no utilization and no latency.",
        ),
        required("max", Value::Integer(1..=MOST), "The most instances; the group's own MaxSize holds as well."),
        optional(
            "boot_time",
            Value::Duration(UP_TO_AN_HOUR),
            "From launch to serving. Left out: learned from the group's own launches, `\"2m\"` until there are some.",
        ),
        optional(
            "warm_up",
            Value::Duration(UP_TO_AN_HOUR),
            "From in service to carrying a full share. Left out: the group's own default instance warm-up, else `\"60s\"`.",
        ),
        preset(
            "controller",
            Value::Table(&CONTROLLER),
            r#"{ kind = "pid", kp = 0.0, ki = 1.0 }"#,
            "How a measurement becomes a recommendation, for every metric without a `controller` of its own.",
        ),
        preset(
            "tolerance",
            Value::Table(&TOLERANCE),
            "{ out = 0.0, in = 0.08 }",
            "Dead band that is kept, as a share of the desired capacity. The metric's own noise widens it.",
        ),
        preset(
            "stabilization",
            Value::Table(&STABILIZATION),
            r#"{ out = "0s", in = "5m" }"#,
            "Act on the least (out) or the highest (in) recommendation of this time. Under `risk` the default is `in = \"1m\"`.",
        ),
        preset(
            "step",
            Value::Table(&STEP),
            r#"{ out = { percent = 100, count = 4, per = "1m" }, in = { percent = 20, per = "1m" } }"#,
            "Most change within a time. Under `risk` the default is 400 % or 10 out and 50 % in.",
        ),
        preset(
            "cooldown",
            Value::Table(&COOLDOWN),
            r#"{ out = "30s", in = "1m" }"#,
            "Rest after a scale event: scale-out after a scale-out, scale-in after either. Under `risk` the default is `in = \"3m\"`.",
        ),
        optional(
            "instance_price",
            TOTAL,
            "What an instance (a unit of capacity, where the group weighs them) costs an hour, in any money.",
        ),
        optional(
            "instance_type",
            INSTANCE_TYPE,
            "In place of the price: the list price of such an instance is taken from the table that [cost.md](cost.md) tells of.",
        ),
        optional(
            "max_spend_per_hour",
            TOTAL,
            "The most that an hour at the desired capacity may cost. Holds back scale-out alone, and no minimum.",
        ),
        optional(
            "max_spend_per_day",
            TOTAL,
            "The most that 24 hours may cost: the 18 that have passed, and six to come at the desired capacity. Holds back scale-out alone, and no minimum.",
        ),
        preset(
            "brake",
            Value::Either(&[Value::Word(&["off"]), Value::Table(&BRAKE)]),
            "{ factor = 2.0 }",
            "Stops adding for a latency that more capacity has been shown not to help, beside a utilization or a total.",
        ),
        optional(
            "hold_scale_in_while",
            Value::Tables(&HOLD, MAX_SIGNALS),
            "Signals that bar scale-in while they burn or can't be read. They never add anything.",
        ),
        optional(
            "max_drop",
            Value::Table(&MAX_DROP),
            "A greater fall of demand is taken for an outage upstream and bars scale-in. Left out: every fall is believed.",
        ),
        optional(
            "schedule",
            Value::Tables(&SCHEDULE, MAX_SCHEDULES),
            "Windows of time in which other bounds hold. Of several open ones the highest `min` and the lowest `max` hold, and a `min` beats a `max`.",
        ),
        optional(
            "fallback",
            Value::Table(&FALLBACK),
            "What to run on once every metric is gone. It never removes: what runs beyond it stays.",
        ),
        required(
            "metric",
            Value::Tables(&METRIC, MAX_METRICS),
            "Each metric asks for a capacity, and the highest wins; one without a value bars scale-in.",
        ),
    ],
    rules: &[
        Rule::NotBoth("instance_price", "instance_type"),
        Rule::Needs("max_spend_per_hour", "instance_price"),
        Rule::Needs("max_spend_per_day", "instance_price"),
    ],
};

static BRAKE: Keys = Keys {
    keys: &[preset(
        "factor",
        Value::Number(Included(1.5), Included(10.0)),
        "2.0",
        "How many times what served at the beginning must serve before it is judged.",
    )],
    rules: &[],
};

static HOLD: Keys = Keys {
    keys: &[
        required("name", NAME, "In logs and the API. No two of a policy share one."),
        optional("query", text("PromQL", ""), "Gives one number: a scalar, or a vector of one element."),
        optional(
            "scrape",
            Value::Table(&SCRAPE),
            "In place of a query, a /metrics page that is read directly, with no Prometheus.",
        ),
        preset("max_age", Value::Duration(AGES), r#""90s""#, "The oldest sample that still counts."),
        optional("above", Value::Number(Unbounded, Unbounded), "It burns above this."),
        optional("below", Value::Number(Unbounded, Unbounded), "It burns below this."),
    ],
    rules: &[Rule::ExactlyOne(&["query", "scrape"]), Rule::ExactlyOne(&["above", "below"])],
};

const INSTANCE_TYPE: Value = text("instance type such as `m7g.large`", r"^[a-z0-9-]+\.[a-z0-9-]+$");
const ASG: Value = Value::Text {
    what: "name of a group, without a colon or outer spaces",
    pattern: r"^[^\s:\u0000-\u001f\u007f-\u009f]([^:\u0000-\u001f\u007f-\u009f]*[^\s:\u0000-\u001f\u007f-\u009f])?$",
    longest: 255,
};
const PERCENT: Value = Value::Number(Excluded(0.0), Included(1000.0));
const COUNT: Value = Value::Integer(1..=MOST);

static CONTROLLER: Keys = Keys {
    keys: &[
        preset(
            "kind",
            Value::Word(&words(&controller::KINDS)),
            r#""pid""#,
            "`pid`: the ratio of demand to target, with gains. `risk`: a share of time that may be over the target, which is a ceiling then. `step`: bands on either side of the target.",
        ),
        preset(
            "kp",
            Value::Number(Included(0.0), Included(10.0)),
            "0.0",
            "Adds to each change of the error. `2·kp + ki` is at most 2.",
        ),
        preset(
            "ki",
            Value::Number(Excluded(0.0), Included(1.0)),
            "1.0",
            "The share of the error that one evaluation takes away; with 1 it is the plain ratio of demand to target.",
        ),
        optional(
            "kd",
            Value::Duration(LEADS),
            "How far ahead the trend of demand is followed; it only ever adds. Left out: half the boot time.",
        ),
        optional(
            "risk",
            Value::Either(&[Value::Number(Excluded(0.0), Included(0.2)), Value::Percentage]),
            "The share of time that may be over the target, at most 0.2; 0.01 where it is left out.",
        ),
        optional("above", Value::Tables(&ABOVE, MAX_BANDS), "Bands above the target, from the target outwards."),
        optional("below", Value::Tables(&BELOW, MAX_BANDS), "Bands below the target, from the target outwards."),
    ],
    rules: &[
        Rule::Only { keys: &["kp", "ki", "kd"], of: "kind", words: &["pid"] },
        Rule::Only { keys: &["risk"], of: "kind", words: &["risk"] },
        Rule::Only { keys: &["above", "below"], of: "kind", words: &["step"] },
        Rule::Asks { of: "kind", word: "step", keys: &["above", "below"] },
    ],
};

static ABOVE: Keys = Keys {
    keys: &[
        required(
            "from",
            Value::Number(Excluded(1.0), Included(FARTHEST_BAND)),
            "Where the band begins, as a share of the target; it goes up to the next.",
        ),
        optional("percent", PERCENT, "Of the capacity, to add."),
        optional("count", COUNT, "Instances to add."),
    ],
    rules: &[Rule::ExactlyOne(&["percent", "count"])],
};

static BELOW: Keys = Keys {
    keys: &[
        required(
            "from",
            Value::Number(Excluded(0.0), Excluded(1.0)),
            "Where the band begins, as a share of the target; it goes down to the next.",
        ),
        optional("percent", Value::Number(Excluded(0.0), Included(100.0)), "Of the capacity, to take away."),
        optional("count", COUNT, "Instances to take away."),
    ],
    rules: &[Rule::ExactlyOne(&["percent", "count"])],
};

const SHARE: Value = Value::Number(Included(0.0), Excluded(1.0));

static TOLERANCE: Keys = Keys {
    keys: &[preset("out", SHARE, "0.0", "Of a scale-out."), preset("in", SHARE, "0.08", "Of a scale-in.")],
    rules: &[],
};

static STABILIZATION: Keys = Keys {
    keys: &[
        preset("out", Value::Duration(UP_TO_AN_HOUR), r#""0s""#, "Before a scale-out."),
        preset("in", Value::Duration(UP_TO_AN_HOUR), r#""5m""#, "Before a scale-in."),
    ],
    rules: &[],
};

static COOLDOWN: Keys = Keys {
    keys: &[
        preset("out", Value::Duration(UP_TO_A_DAY), r#""30s""#, "Before a scale-out."),
        preset("in", Value::Duration(UP_TO_A_DAY), r#""1m""#, "Before a scale-in."),
    ],
    rules: &[],
};

const STEP_LIMIT: Value = Value::Either(&[Value::Word(&["unlimited"]), Value::Table(&LIMIT)]);

static STEP: Keys = Keys {
    keys: &[
        preset("out", STEP_LIMIT, r#"{ percent = 100, count = 4, per = "1m" }"#, "Of a scale-out."),
        preset("in", STEP_LIMIT, r#"{ percent = 20, per = "1m" }"#, "Of a scale-in."),
    ],
    rules: &[],
};

static LIMIT: Keys = Keys {
    keys: &[
        optional(
            "percent",
            PERCENT,
            "Of the capacity at the start of the time. Of `percent` and `count` the one that allows more counts.",
        ),
        optional("count", COUNT, "Instances."),
        preset("per", Value::Duration(PERIODS), r#""1m""#, "The time."),
    ],
    rules: &[Rule::AtLeastOne(&["percent", "count"])],
};

static MAX_DROP: Keys = Keys {
    keys: &[
        required("ratio", Value::Number(Excluded(0.0), Excluded(1.0)), "The share of demand that may vanish."),
        required(
            "per",
            Value::Duration(PERIODS),
            "Within this time. Scale-in is barred until the fall is that old, so that no more than the window of `stabilization.in` bars nothing.",
        ),
    ],
    rules: &[],
};

static SCHEDULE: Keys = Keys {
    keys: &[
        required(
            "cron",
            text("cron expression", ""),
            "When it opens: minute, hour, day, month, day of the week, such as `\"0 8 * * MON-FRI\"`. What the clocks skip opens right after, and what they show twice opens once.",
        ),
        preset("timezone", text("IANA name of a time zone", ""), r#""UTC""#, "What the cron expression is in."),
        required("duration", Value::Duration(DURATIONS), "How long it stays open."),
        optional("min", Value::Integer(0..=MOST), "In place of the policy's own."),
        optional("max", Value::Integer(1..=MOST), "In place of the policy's own."),
    ],
    rules: &[Rule::AtLeastOne(&["min", "max"])],
};

static FALLBACK: Keys = Keys {
    keys: &[
        required("after", Value::Duration(AFTER), "How long every metric has been gone."),
        required("capacity", Value::Integer(1..=MOST), "The instances to run on; at most `max`."),
    ],
    rules: &[],
};

const UTILIZATION: Value = Value::Either(&[
    Value::Number(Excluded(0.0), Excluded(1.0)),
    Value::Number(Excluded(1.5), Excluded(100.0)),
    Value::Percentage,
]);
const TOTAL: Value = Value::Number(Excluded(0.0), Unbounded);
const LATENCY: Value = Value::Duration(LATENCIES);

static METRIC: Keys = Keys {
    keys: &[
        required("name", NAME, "In logs, metrics and the API. No two of a policy share one."),
        required(
            "kind",
            Value::Word(&words(&metric::KINDS)),
            "`utilization`: average over the instances. `total`: sum over the fleet; the target is what one instance should carry. `latency`: seconds.",
        ),
        required(
            "target",
            Value::Either(&[TOTAL, Value::Percentage, LATENCY]),
            "The value to keep; what it may be depends on the kind.",
        ),
        optional("query", text("PromQL", ""), "Gives one number: a scalar, or a vector of one element."),
        optional(
            "scrape",
            Value::Table(&SCRAPE),
            "In place of a query, a /metrics page that is read directly, with no Prometheus.",
        ),
        preset("max_age", Value::Duration(AGES), r#""90s""#, "The oldest sample that still counts."),
        optional(
            "controller",
            Value::Table(&CONTROLLER),
            "A controller for this metric alone, in place of the policy's.",
        ),
        optional(
            "per_instance",
            text("name of a label", "^[A-Za-z_][A-Za-z0-9_]*$"),
            "The label that tells the instances apart, where the query gives one series each: it is seen then when some are gone.",
        ),
        optional(
            "min_coverage",
            Value::Number(Included(0.0), Included(1.0)),
            "The share of the serving instances that must have reported before anything is removed; 0.75 where it is left out.",
        ),
    ],
    rules: &[
        Rule::ExactlyOne(&["query", "scrape"]),
        Rule::NotBoth("scrape", "per_instance"),
        Rule::Needs("min_coverage", "per_instance"),
        Rule::Only { keys: &["per_instance"], of: "kind", words: &["utilization", "total"] },
        Rule::Narrows { of: "kind", word: "utilization", key: "target", value: UTILIZATION },
        Rule::Narrows { of: "kind", word: "total", key: "target", value: TOTAL },
        Rule::Narrows { of: "kind", word: "latency", key: "target", value: LATENCY },
    ],
};

static SCRAPE: Keys = Keys {
    keys: &[
        required("url", URL, "The page."),
        required(
            "selector",
            text("PromQL selector", ""),
            "The series to take, such as `requests_total{code=\"200\"}`.",
        ),
        required(
            "read",
            Value::Word(&words(&READS)),
            "`gauge`: over all of them. `rate`: the increase per second of counters over `window`, summed. `quantile`: of a classic histogram's buckets over `window`.",
        ),
        optional("aggregate", Value::Word(&words(&AGGREGATIONS)), "With `gauge`; `avg` where it is left out."),
        optional(
            "quantile",
            Value::Number(Included(0.001), Included(0.999)),
            "With `quantile`, of at most three decimals; 0.99 where it is left out.",
        ),
        optional(
            "window",
            Value::Duration(WINDOWS),
            "With `rate` and `quantile`, at least two intervals. Left out: `\"1m\"`, or four intervals where that is more.",
        ),
    ],
    rules: &[
        Rule::Only { keys: &["aggregate"], of: "read", words: &["gauge"] },
        Rule::Only { keys: &["quantile"], of: "read", words: &["quantile"] },
        Rule::Only { keys: &["window"], of: "read", words: &["rate", "quantile"] },
    ],
};

const WINDOWS: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=LONGEST_WINDOW;
