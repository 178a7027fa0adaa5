"use strict";
(() => {
  const source = document.getElementById("data").textContent;
  const data = JSON.parse(source);
  const results = data.results.map((result, index) => ({
    ...result,
    index,
    name: result.label,
    rps: result.metrics.rps,
    p95: result.metrics.p95_ms,
    cost: result.cost ? result.cost.month_usd : null,
    million: result.cost ? result.cost.million_usd : null,
  }));
  const state = { view: "plateau", colour: "experiment", sort: "place", filter: "" };
  const byId = (id) => document.getElementById(id);
  const PALETTE = ["#4269d0", "#d98c00", "#e8543f", "#3aa394", "#3ca951", "#d9659b", "#a463f2", "#5f95d6",
    "#9c6b4e", "#8a9099"];
  const ms = (value) => (value === null || value === undefined ? "-" : `${Number(value.toPrecision(3))} ms`);
  const number = (value) => (value === null || value === undefined ? "-" : String(Number(value.toPrecision(3))));

  function group(result) {
    if (state.colour === "experiment") return result.name;
    if (state.colour === "verdict") return result.verdict;
    const value = result.configuration[state.colour];
    if (value === undefined) return "unknown";
    if (state.colour === "inter_op") return `inter-op ${value}`;
    if (state.colour === "batching") return value ? "batching" : "no batching";
    return String(value);
  }

  function matches(name) {
    return state.filter.toLowerCase().split(/\s+/).every((word) => name.toLowerCase().includes(word));
  }

  function chosen() {
    const shown = results.filter((result) => matches(result.name));
    const keys = { rps: (r) => -(r.rps ?? 0), p95: (r) => r.p95 ?? Infinity, cost: (r) => r.cost ?? Infinity };
    return state.sort === "place" ? shown : d3.sort(shown, keys[state.sort]);
  }

  // More groups than the palette has colours are told apart by hue, neighbours by lightness, too.
  const coloursOf = (count) => (count <= PALETTE.length ? PALETTE
    : d3.range(count).map((at) => d3.hcl((360 * at) / count, 60, at % 2 ? 66 : 50).formatHex()));

  function groups() {
    const domain = [...new Set(results.map(group))];
    return { domain, range: coloursOf(domain.length) };
  }

  // `named` is a picture where every name stands beside its mark, so that it needs no legend of names.
  const colourScale = (shown, named) => ({
    type: "ordinal",
    ...groups(),
    legend: new Set(shown.map(group)).size > 1 && !(named && state.colour === "experiment"),
  });

  function colourOf(result) {
    const { domain, range } = groups();
    return range[domain.indexOf(group(result)) % range.length];
  }

  function paintSwatches() {
    for (const each of document.querySelectorAll("[data-index] .swatch")) {
      each.style.background = colourOf(results[Number(each.closest("[data-index]").dataset.index)]);
    }
  }

  // In ms, or requests a second.
  const onAxis = (slo) => slo.limit * ({ s: 1000, us: 0.001 }[slo.unit] ?? 1);

  // Each once, though several tests have judged it. A limit on one kind of requests is none on all of them.
  function limits(result, pattern) {
    const found = result.slos.filter((slo) => pattern.test(slo.slo) && !slo.slo.includes("{")
      && slo.unit !== "x" && slo.unit !== "%");
    return [...new Map(found.map((slo) => [slo.slo, { name: result.name, text: slo.slo, at: onAxis(slo) }])).values()];
  }

  // A limit far above all that was measured would press it flat: it is named at the edge, not drawn.
  const FAR = 3;
  const isFar = (limit, values) => d3.max(values) > 0 && limit.at > FAR * d3.max(values);
  const MOST_NAMED = 3;
  function withLimits(caption, of, values) {
    if (!of.length) return caption;
    const texts = [...new Set(of.map((limit) => limit.text))];
    const named = texts.length > MOST_NAMED ? "the SLO's limit" : texts.join(", ");
    const far = of.some((limit) => isFar(limit, values)) ? ", with an arrow where it is far above" : "";
    return `${caption}; dashed: ${named}${far}`;
  }

  // Figures share their box's width: all of them are in it before the first is drawn.
  function newFigure(box) {
    const figure = document.createElement("figure");
    figure.append(document.createElement("figcaption"));
    box.append(figure);
    return figure;
  }

  // Places from `top` to `bottom`, `gap` apart or more, and in all as near to the sorted `wanted` ones as can be.
  function apart(wanted, gap, top, bottom) {
    const blocks = [];
    const mean = (block) => block.sum / block.count;
    wanted.forEach((place, index) => {
      blocks.push({ sum: place - index * gap, count: 1 });
      while (blocks.length > 1 && mean(blocks.at(-2)) > mean(blocks.at(-1))) {
        const { sum, count } = blocks.pop();
        blocks.at(-1).sum += sum;
        blocks.at(-1).count += count;
      }
    });
    const last = Math.max(top, bottom - (wanted.length - 1) * gap);
    return blocks.flatMap((block) => Array(block.count).fill(Math.min(Math.max(mean(block), top), last)))
      .map((place, index) => place + index * gap);
  }

  // The names of lines stand beside their ends, apart from each other, each with a stroke to its line.
  const NAME_HEIGHT = 14;
  const NAME_WIDTH = 6.3;
  function nameLines(svg, plot, ends) {
    const [x, y] = [plot.scale("x"), plot.scale("y")];
    const right = Math.max(...x.range) + 14;
    const most = Math.floor((svg.width.baseVal.value - right) / NAME_WIDTH);
    const [top, bottom] = [Math.min(...y.range), Math.max(...y.range)];
    const placed = d3.sort(ends.map((end) => ({ ...end, from: x.apply(end.x), at: y.apply(end.y) })), (end) => end.at);
    const labels = apart(placed.map((end) => end.at), NAME_HEIGHT, top, bottom);
    placed.forEach((end, index) => { end.label = labels[index]; });
    const layer = d3.select(svg).append("g").attr("class", "names").attr("font-size", 11).attr("text-anchor", "start");
    const each = layer.selectAll("g").data(placed).join("g");
    each.append("polyline").attr("fill", "none").attr("stroke", (end) => end.colour).attr("stroke-width", 1.5)
      .attr("points", (end) => `${end.from + 1},${end.at} ${right - 4},${end.label}`);
    each.append("text").attr("x", right).attr("y", (end) => end.label).attr("dy", "0.35em").attr("fill", "currentColor")
      .text((end) => (end.name.length > most ? `${end.name.slice(0, most - 1)}…` : end.name));
    each.append("title").text((end) => end.name);
  }

  // Room for names at the right of lines; none on a narrow screen, where a legend has them.
  function roomForNames(shown, width) {
    if (width < 640 || results.length === 1) return { height: 0, marginRight: 28, named: false };
    const longest = d3.max(shown, (result) => result.name.length) ?? 0;
    const marginRight = Math.min(24 + (NAME_WIDTH + 0.3) * longest, width * 0.4);
    return { height: NAME_HEIGHT * shown.length + 80, marginRight, named: true };
  }

  // Where each line ends: lines of means do so at that of their last `last` points.
  function lineEnds(points, x, y, last = 1) {
    return d3.groups(points, (point) => point.index).map(([index, line]) => ({
      name: results[index].name,
      colour: colourOf(results[index]),
      x: line.at(-1)[x],
      y: d3.mean(line.slice(-last), (point) => point[y]),
    }));
  }

  function draw(figure, caption, options) {
    figure.querySelectorAll("figcaption ~ *").forEach((old) => old.remove());
    const text = figure.querySelector("figcaption");
    if (caption) text.textContent = caption;
    const width = Math.max(280, figure.clientWidth || 340);
    const { ends, ...settings } = options(width);
    const drawing = Plot.plot({
      width,
      marginBottom: 36,
      style: { background: "none", color: "inherit", fontSize: "12px" },
      ...settings,
    });
    const svg = drawing.tagName === "svg" ? drawing : [...drawing.querySelectorAll("svg")].at(-1);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", text.textContent);
    if (ends) nameLines(svg, drawing, ends);
    figure.append(drawing);
  }

  const nothing = (figure, text) => {
    figure.querySelectorAll("figcaption ~ *").forEach((old) => old.remove());
    const line = document.createElement("p");
    line.textContent = text;
    figure.append(line);
  };

  // A long name takes two lines, so that the marks keep most of a narrow screen.
  const wrapped = (name, most) => {
    if (name.length <= most) return name;
    const middle = name.lastIndexOf("-", Math.min(most, name.length - 2));
    return middle > 0 ? `${name.slice(0, middle + 1)}\n${name.slice(middle + 1)}` : `${name.slice(0, most - 1)}…`;
  };

  // `highest` is what a row reaches.
  function rows(shown, width, label, highest, slos, marks) {
    const most = width < 480 ? 18 : 30;
    const values = shown.filter((r) => r.measured).map(highest);
    const far = slos.filter((limit) => isFar(limit, values)).map(({ name, text }) => ({ name, text: `→ ${text}` }));
    const farTexts = d3.rollups(far, (of) => of.map((limit) => limit.text).join("\n"), (limit) => limit.name);
    const marginLeft = Math.min(12 + 7.2 * Math.min(most, d3.max(shown, (r) => r.name.length)), width * 0.45);
    const marginRight = Math.min(24 + 7.2 * (d3.max(far, (limit) => limit.text.length) ?? 0), width * 0.4);
    const ticks = Math.max(1, Math.min(8, Math.floor((width - marginLeft - marginRight) / 40)));
    return {
      height: 50 + 30 * shown.length,
      marginLeft,
      marginRight,
      x: { label, grid: true, nice: true, zero: true, ticks },
      y: { label: null, domain: shown.map((r) => r.name), tickFormat: (name) => wrapped(name, most), tickSize: 0 },
      color: colourScale(shown, true),
      marks: [
        ...marks,
        Plot.tickX(slos.filter((limit) => !isFar(limit, values)), {
          y: "name", x: "at", strokeWidth: 3, strokeDasharray: "3,2" }),
        Plot.text(farTexts, { y: "0", text: "1", frameAnchor: "right", textAnchor: "start", dx: 8 }),
        Plot.text(shown.filter((r) => !r.measured), {
          y: "name", text: "verdict", frameAnchor: "left", dx: 6, fillOpacity: 0.75, fontStyle: "italic",
        }),
        Plot.ruleX([0]),
      ],
    };
  }

  // Text that lines run behind stays readable.
  const HALO = { stroke: "var(--surface)", strokeWidth: 5, fill: "currentColor" };

  // Marks of limits in a picture whose values go up.
  function limitLines(slos, values) {
    const far = slos.filter((limit) => isFar(limit, values)).map((limit) => limit.text);
    return [
      Plot.ruleY(slos.filter((limit) => !isFar(limit, values)), { y: "at", strokeDasharray: "4,3" }),
      Plot.text(far.length ? [`↑ ${far.join(", ")}`] : [], {
        text: (text) => text, frameAnchor: "top-right", dx: -4, dy: 4, ...HALO }),
    ];
  }

  function drawPlateau(shown) {
    const measured = shown.filter((r) => r.measured);
    const withInterval = (name) => measured.filter((r) => r.intervals[name]);
    const [ofRates, ofLatencies] = [/^rps/, /^p\d/].map((of) => measured.flatMap((r) => limits(r, of)));
    const rates = "Requests a second at the plateau, with 95 % intervals";
    draw(byId("chart-rps"), withLimits(rates, ofRates, measured.map((r) => r.rps)), (width) =>
      rows(shown, width, "requests a second", (r) => r.rps, ofRates, [
        Plot.barX(measured, { y: "name", x: "rps", fill: group, fillOpacity: 0.8, insetTop: 5, insetBottom: 5,
          title: (r) => `${r.name}\n${number(r.rps)} requests a second`, tip: true }),
        Plot.ruleY(withInterval("rps"), { y: "name", x1: (r) => r.intervals.rps[0], x2: (r) => r.intervals.rps[1],
          strokeWidth: 2 }),
      ]));
    const latencies = "Latency at the plateau: a dot is p95, the line runs from p50 to p99";
    draw(byId("chart-latency"), withLimits(latencies, ofLatencies, measured.map((r) => r.metrics.p99_ms)), (width) =>
      rows(shown, width, "ms", (r) => r.metrics.p99_ms, ofLatencies, [
        Plot.ruleY(measured, { y: "name", x1: (r) => r.metrics.p50_ms, x2: (r) => r.metrics.p99_ms, stroke: group,
          strokeWidth: 2 }),
        Plot.dot(measured, { y: "name", x: "p95", fill: group, r: 5,
          title: (r) => `${r.name}\np50 ${ms(r.metrics.p50_ms)}, p95 ${ms(r.p95)}, p99 ${ms(r.metrics.p99_ms)}`,
          tip: true }),
      ]));
  }

  // The second in which a run ended is cut off: a few milliseconds of it would look like a server that stops.
  function wholeSeconds(result) {
    const whole = result.series.filter((second) => second.at_s + 1 <= result.run_s + 0.01);
    return whole.length ? whole : result.series;
  }

  function drawTime(shown) {
    const points = shown.filter((r) => r.measured).flatMap((r) =>
      wholeSeconds(r).map((second) => ({ ...second, index: r.index, name: r.name, group: group(r) })));
    const lines = (field, label) => (width) => {
      const known = points.filter((p) => p[field] !== undefined);
      const { height, marginRight, named } = roomForNames(shown, width);
      return {
        height: Math.max(320, height),
        marginLeft: 52,
        marginRight,
        x: { label: "seconds", ticks: width < 480 ? 5 : 10 },
        y: { label, grid: true, zero: true, nice: true },
        color: colourScale(shown, named),
        ends: named ? lineEnds(known, "at_s", field, 3) : null,
        marks: [
          Plot.lineY(known, Plot.windowY({ k: 5 }, { x: "at_s", y: field, z: "index", stroke: "group",
            strokeWidth: 1.5 })),
          Plot.tip(known, Plot.pointer({ x: "at_s", y: field,
            title: (p) => `${p.name}\n${p.at_s} s: ${number(p[field])}` })),
          Plot.ruleY([0]),
        ],
      };
    };
    draw(byId("chart-rps"), "Successes a second, the mean of five seconds", lines("successes", "successes a second"));
    draw(byId("chart-latency"), "p95 of a second, the mean of five", lines("p95_ms", "ms"));
  }

  function drawComparison() {
    const shown = chosen();
    // Names beside lines take room that two pictures in a row do not have.
    byId("chart-rps").parentElement.classList.toggle("wide", state.view === "time");
    const measured = shown.filter((r) => r.measured).length;
    if (!measured) {
      const text = shown.length ? "Nothing valid was measured." : "No name matches the filter.";
      ["chart-rps", "chart-latency"].forEach((id) => nothing(byId(id), text));
    } else if (state.view === "plateau") drawPlateau(shown);
    else drawTime(shown);
    const left = shown.length - measured;
    byId("left-out").textContent = left
      ? `${left} without a measurement: NOT JUDGED, INVALID or ended early.${
        measured ? " They are named, not drawn." : ""}` : "";
  }

  // Each step to the right is ten times rarer: 90 %, 99 %, 99.9 %.
  const place = (per_cent) => -Math.log10(1 - Math.min(per_cent, 99.99) / 100);
  function percentileAxis(width, points) {
    const most = d3.max(points, (point) => point.x);
    return {
      label: "share of requests",
      domain: [0, most],
      ticks: (width < 480 ? [0, 90, 99, 99.9, 99.99] : [0, 50, 90, 95, 99, 99.9, 99.99]).map(place)
        .filter((x) => x <= most + 1e-9),
      tickFormat: (x) => `${Number((100 * (1 - 10 ** -x)).toFixed(2))} %`,
    };
  }

  function drawPercentiles() {
    const shown = chosen().filter((r) => r.measured && r.distribution.length);
    if (!shown.length) return nothing(byId("chart-percentiles"), "Nothing valid was measured.");
    const points = shown.flatMap((r) => r.distribution.filter(([at]) => at < 100).map(([at, value]) => ({
      at, x: place(at), value, index: r.index, name: r.name, group: group(r) })));
    draw(byId("chart-percentiles"), null, (width) => {
      const { height, marginRight, named } = roomForNames(shown, width);
      return {
        height: Math.max(360, height),
        marginLeft: 56,
        marginRight,
        x: percentileAxis(width, points),
        y: { label: "ms", type: "log", grid: true, ticks: 5, tickFormat: "~f" },
        color: colourScale(shown, named),
        ends: named ? lineEnds(points, "x", "value") : null,
        marks: [
          Plot.lineY(points, { x: "x", y: "value", z: "index", stroke: "group", strokeWidth: 1.5 }),
          Plot.tip(points, Plot.pointer({ x: "x", y: "value",
            title: (p) => `${p.name}\n${p.at} % within ${ms(p.value)}` })),
        ],
      };
    });
  }

  function drawCost() {
    if (!byId("chart-cost-rps")) return;
    const shown = chosen().filter((r) => r.measured && r.cost !== null);
    for (const [id, field, label, front] of [
      ["chart-cost-rps", "rps", "requests a second", data.recommendation.front_rps],
      ["chart-cost-p95", "p95", "p95, ms", data.recommendation.front_p95],
    ]) {
      if (!shown.length) {
        nothing(byId(id), "Nothing valid was measured.");
        continue;
      }
      const best = shown.filter((r) => front.includes(r.name));
      const [least, most] = d3.extent(shown, (r) => r.cost);
      // Equal costs alone would be an axis of one tick.
      const domain = least < most ? undefined : [0, 2 * most || 1];
      const taken = data.recommendation.cheapest ? data.recommendation.cheapest.name : null;
      draw(byId(id), null, (width) => ({
        height: 320,
        marginLeft: 52,
        x: { label: `USD for ${data.prices.hours_a_month} h a month`, domain, grid: true, nice: true, inset: 12,
          ticks: width < 480 ? 4 : 8 },
        y: { label, grid: true, nice: true, zero: true },
        color: colourScale(shown),
        marks: [
          Plot.line(d3.sort(best, (r) => r.cost), { x: "cost", y: field, strokeOpacity: 0.5, strokeDasharray: "4,3" }),
          Plot.dot(shown.filter((r) => r.verdict === "PASS"), { x: "cost", y: field, r: 6, fill: group }),
          Plot.dot(shown, { x: "cost", y: field, r: 6, stroke: group, strokeWidth: 2,
            title: (r) => `${r.name} (${r.verdict})\n${number(r[field])} ${label}, ${r.cost.toFixed(2)} USD`,
            tip: true }),
          Plot.dot(shown.filter((r) => r.name === taken), { x: "cost", y: field, r: 11, strokeWidth: 2 }),
        ],
      }));
    }
  }

  // Load against what the server made of it: where p95 turns up, and the rate goes on no more, is the knee.
  function drawSearch(section) {
    const search = data.searches[Number(section.dataset.search)];
    const box = section.querySelector(".charts");
    box.replaceChildren();
    const limit = search.slos.map((text) => /^p95<=?([\d.]+)(us|ms|s)$/.exec(text.replaceAll(" ", "")))
      .filter(Boolean).map((match) => ({ text: match[0], at: onAxis({ limit: Number(match[1]), unit: match[2] }) }));
    const panels = [
      ["p95_ms", "p95_interval", "p95, ms", limit], ["rps", "rps_interval", "requests a second", []],
    ].map((panel) => [newFigure(box), ...panel]);
    for (const [figure, field, interval, label, dashed] of panels) {
      const probes = search.probes.filter((probe) => probe[field] !== null);
      const caption = withLimits(`${label} by ${search.over}; the upright line is the knee`, dashed,
        probes.map((probe) => probe[field]));
      draw(figure, caption, (width) => ({
        height: 260,
        marginLeft: 52,
        marginTop: 28,
        x: { label: search.over, grid: true, nice: true, zero: true, ticks: width < 480 ? 5 : 10 },
        y: { label, grid: true, nice: true, zero: true },
        color: { type: "ordinal", domain: ["holds", "does not hold"], range: [PALETTE[4], PALETTE[2]], legend: true },
        marks: [
          Plot.lineY(probes, { x: "load", y: field, strokeOpacity: 0.4 }),
          Plot.ruleX(probes.filter((probe) => probe[interval]), { x: "load", y1: (probe) => probe[interval][0],
            y2: (probe) => probe[interval][1], strokeOpacity: 0.6 }),
          Plot.dot(probes, { x: "load", y: field, r: 4, fill: (probe) => (probe.holds ? "holds" : "does not hold"),
            title: (probe) => `${number(probe.load)} ${search.over}\n${number(probe[field])} ${label}`, tip: true }),
          ...limitLines(dashed, probes.map((probe) => probe[field])),
          Plot.ruleX(search.knee ? [search.knee] : [], { strokeWidth: 1.5 }),
          Plot.ruleY([0]),
        ],
      }));
    }
  }

  function drawCalibration() {
    const core = (each) => `core ${each.core}`;
    const rows = (name) => data.calibration.cores.flatMap((each) => each[name].map((row) => [core(each), ...row]));
    const color = { type: "ordinal", domain: data.calibration.cores.map(core), range: PALETTE,
      legend: data.calibration.cores.length > 1 };
    const wander = rows("slowness");
    draw(byId("chart-wander"), "How long a fixed piece of work took, in means of half a second; 1 is the median", () => ({
      height: 260,
      marginLeft: 52,
      marginTop: 28,
      x: { label: "seconds" },
      y: { label: "x the median", type: "log", grid: true, ticks: 5, tickFormat: (value) => `${value}` },
      color,
      marks: [
        Plot.ruleY([1], { strokeOpacity: 0.5 }),
        Plot.lineY(wander, { x: (row) => row[1], y: (row) => row[2], stroke: (row) => row[0], z: (row) => row[0],
          strokeWidth: 1.2 }),
      ],
    }));
    const memory = rows("autocorrelation");
    draw(byId("chart-memory"), "How alike these means are after so long: dots as seen, lines as fitted", () => ({
      height: 260,
      marginLeft: 52,
      marginTop: 28,
      x: { label: "seconds apart", zero: true },
      y: { label: "autocorrelation", grid: true, nice: true },
      color,
      marks: [
        Plot.ruleY([0]),
        Plot.dot(memory, { x: (row) => row[1], y: (row) => row[2], r: 2, fill: (row) => row[0] }),
        Plot.lineY(memory, { x: (row) => row[1], y: (row) => row[3], stroke: (row) => row[0], z: (row) => row[0] }),
      ],
    }));
  }

  // The changes that SLOs allow to a metric, in per cent.
  function allowedChanges(result, pattern) {
    const found = result.slos.filter((slo) => pattern.test(slo.slo) && slo.unit === "%");
    return [...new Map(found.map((slo) => [slo.slo, { text: slo.slo, at: slo.limit }])).values()];
  }

  // The same second of load of both servers was measured at nearly the same time.
  function changesBySecond(result, fields) {
    const before = new Map(wholeSeconds(result.comparison.result).map((second) => [second.at_s, second]));
    return fields.flatMap(([name, field]) => wholeSeconds(result).flatMap((second) => {
      const [ours, theirs] = [second[field], (before.get(second.at_s) ?? {})[field]];
      return ours && theirs ? [{ name, at_s: second.at_s, change: 100 * (ours / theirs - 1) }] : [];
    }));
  }

  function drawAgainst(box) {
    const result = results[Number(box.dataset.of)];
    box.replaceChildren();
    const servers = [["candidate", result.distribution], ["baseline server", result.comparison.distribution]];
    const points = servers.flatMap(([name, distribution]) => distribution.filter(([at]) => at < 100)
      .map(([at, value]) => ({ name, at, x: place(at), value })));
    const color = (names) => ({ type: "ordinal", domain: names, range: [PALETTE[0], PALETTE[1]], legend: names.length > 1 });
    const changes = (fields, allowed) => (width) => {
      const rows = changesBySecond(result, fields);
      const extent = d3.extent([0, ...allowed.map((limit) => limit.at), ...rows.map((row) => row.change)]);
      return {
        height: 240,
        marginLeft: 52,
        x: { label: "seconds of load", domain: [0, Math.max(result.run_s, 1)], ticks: width < 480 ? 5 : 10 },
        y: { label: "change, %", grid: true, nice: true, domain: extent,
          tickFormat: (value) => `${value > 0 ? "+" : ""}${value}` },
        color: color(fields.map(([name]) => name)),
        marks: [
          Plot.rectX([result.window], { x1: "start_s", x2: "end_s", fill: "currentColor", fillOpacity: 0.07 }),
          Plot.dot(rows, { x: "at_s", y: "change", fill: "name", r: 1.5, fillOpacity: 0.5 }),
          Plot.lineY(rows, Plot.windowY({ k: Math.max(5, Math.round(result.run_s / 20)), reduce: "median" },
             { x: "at_s", y: "change", stroke: "name" })),
          Plot.tip(rows, Plot.pointer({ x: "at_s", y: "change",
            title: (row) => `${row.name}\n${row.at_s} s: ${number(row.change)} %` })),
          Plot.ruleY([0]),
          Plot.ruleY(allowed, { y: "at", strokeDasharray: "4,3" }),
        ],
      };
    };
    const percentiles = (width) => ({
      height: 240,
      marginLeft: 56,
      marginRight: 28,
      x: percentileAxis(width, points),
      y: { label: "ms", type: "log", grid: true, ticks: 5, tickFormat: "~f" },
      color: color(servers.map(([name]) => name)),
      marks: [
        Plot.lineY(points, { x: "x", y: "value", stroke: "name", strokeWidth: 1.5 }),
        Plot.tip(points, Plot.pointer({ x: "x", y: "value",
          title: (p) => `${p.name}\n${p.at} % within ${ms(p.value)}` })),
      ],
    });
    const [latency, rate] = [allowedChanges(result, /^p(50|95)\b/), allowedChanges(result, /^rps/)];
    const caption = (of, allowed) => `Change of ${of} in each second of load, and its running median${
      allowed.length ? "; dashed: the SLO's limit" : ""}`;
    const panels = [
      ["Latency by percentile, of both servers", percentiles],
      [caption("p95 and p50", latency), changes([["p95", "p95_ms"], ["p50", "p50_ms"]], latency)],
      [caption("successes a second", rate), changes([["rps", "successes"]], rate)],
    ].map((panel) => [newFigure(box), ...panel]);
    for (const [figure, caption, options] of panels) draw(figure, caption, options);
  }

  // Steps of the record of load; the step in which the run ended is cut off, as the last second is.
  function steps(result, name) {
    const { step_s: step, [name]: values } = result.run_record;
    const whole = values.filter((_, index) => (index + 1) * step <= result.run_s + 0.01);
    return (whole.length ? whole : values).map((value, index) => ({ at_s: index * step, value, name }));
  }

  // The stronger evidence of each look, as a share of what decides: up for an SLO that holds, down for one that fails.
  function evidenceOf(result) {
    const bounded = (share) => Math.min(Math.max(share, -1.15), 1.15);
    return Object.entries(result.evidence ?? {}).flatMap(([name, path]) => path.at_s.map((at_s, look) => {
      const [holds, fails] = [path.holds[look] ?? 0, path.fails[look] ?? 0];
      return { name, at_s, share: bounded((holds >= fails ? holds : -fails) / path.needed) };
    }));
  }

  function drawEvidence(result, panel, frame) {
    const lines = d3.groups(evidenceOf(result), (row) => row.name).map(([name, rows], at) => ({
      name,
      points: rows.map((row) => ({ at_s: row.at_s, value: row.share })),
      stroke: coloursOf(Object.keys(result.evidence).length)[at],
      marker: rows.length > 1 ? "none" : "dot",
    }));
    if (!lines.length) return;
    const framed = frame("share of what decides", lines, [
      Plot.ruleY([-1, 1], { strokeDasharray: "4,3" }),
      Plot.text([[1, "PASS"], [-1, "FAIL"]], {
        y: ([at]) => at, text: ([, name]) => name, frameAnchor: "left", dx: 4, dy: -7, ...HALO }),
    ]);
    panel("Evidence on each SLO over time: up, that the SLO holds; down, that it does not", (width) => {
      const options = framed(width);
      return { ...options, y: { ...options.y, domain: [-1.3, 1.3], ticks: 5 } };
    });
  }

  function drawKinds(result, panel) {
    const names = Object.keys(result.kinds ?? {});
    const points = names.flatMap((name) => result.kinds[name].distribution.filter(([at]) => at < 100)
      .map(([at, value]) => ({ name, at, x: place(at), value })));
    if (!points.length) return;
    panel("Latency by percentile, of each kind of requests", (width) => ({
      height: 240,
      marginLeft: 56,
      marginRight: 28,
      x: percentileAxis(width, points),
      y: { label: "ms", type: "log", grid: true, ticks: 5, tickFormat: "~f" },
      color: { type: "ordinal", domain: names, range: coloursOf(names.length), legend: true },
      marks: [
        Plot.lineY(points, { x: "x", y: "value", stroke: "name", strokeWidth: 1.5 }),
        Plot.tip(points, Plot.pointer({ x: "x", y: "value",
          title: (p) => `${p.name}\n${p.at} % within ${ms(p.value)}` })),
      ],
    }));
  }

  // The parts of a run that an SLO judges one by one, each as wide as it lasted.
  function drawJudgedParts(result, panel, frame) {
    for (const [text, parts] of Object.entries(result.parts ?? {})) {
      const isShare = /^(errors|goodput)/.test(text);
      const label = isShare ? "%" : /^rps/.test(text) ? "requests a second" : "ms";
      const known = parts.filter((part) => part.value !== null)
        .map((part) => ({ ...part, value: part.value * (isShare ? 100 : 1) }));
      if (!known.length) continue;
      const values = known.map((part) => part.value);
      const slo = result.slos.find((each) => each.slo === text);
      const dashed = slo ? [{ text, at: onAxis(slo) }] : [];
      const fill = (part) => ({ true: PALETTE[4], false: PALETTE[2] }[part.holds] ?? PALETTE[1]);
      const finding = (part) => ({ true: "met", false: "missed" }[part.holds] ?? "undecided");
      const caption = `${text}: the figure of each part; green: met, red: missed, orange: undecided`;
      panel(caption, frame(label, [], [
        Plot.rectY(known, { x1: "start_s", x2: "end_s", y: "value", fill, fillOpacity: 0.8, inset: 0.5, tip: true,
          title: (part) => `${number(part.start_s)} s to ${number(part.end_s)} s\n${number(part.value)} ${label}, ${
            finding(part)}` }),
        ...limitLines(dashed, values),
      ]));
    }
  }

  function drawDetails(details) {
    const result = results[Number(details.dataset.index)];
    const box = details.querySelector(".of-run");
    box.replaceChildren();
    const series = wholeSeconds(result);
    if (!series.length) return;
    const { start_s: start, end_s: end } = result.window;
    const colour = colourOf(result);
    const panels = [];
    const panel = (caption, options) => panels.push([newFigure(box), caption, options]);
    // Each line is its name, its points as { at_s, value }, and its marks' options.
    const frame = (label, lines, marks = []) => (width) => ({
      height: 220,
      marginLeft: 52,
      marginRight: roomAtRight(lines, width),
      marginTop: 28,
      x: { label: "seconds", domain: [0, Math.max(result.run_s, 1)], ticks: width < 480 ? 5 : 10 },
      y: { label, grid: true, zero: true, nice: true },
      ends: lines.map(({ name, points, stroke }) => ({
        name, colour: stroke, x: points.at(-1).at_s, y: points.at(-1).value })),
      marks: [
        Plot.rectX([{ from: start, to: end }], { x1: "from", x2: "to", fill: "currentColor", fillOpacity: 0.07 }),
        ...windowNames(start, end, result.run_s, width - 52 - roomAtRight(lines, width)),
        ...lines.map(({ points, ...options }) => Plot.lineY(points, { x: "at_s", y: "value", ...options })),
        ...marks,
        ...lines.map(({ name, points }) => Plot.tip(points, Plot.pointer({ x: "at_s", y: "value",
          title: (point) => `${name}\n${point.at_s} s: ${number(point.value)} ${label}` }))),
        Plot.ruleY([0]),
      ],
    });
    const points = (field) => series.filter((second) => second[field] !== undefined)
      .map((second) => ({ at_s: second.at_s, value: second[field] }));
    const rpsLimits = limits(result, /^rps/);
    const successes = series.map((second) => second.successes);
    panel(withLimits("Successes in each second", rpsLimits, successes), frame("successes a second",
      [{ name: "successes", points: points("successes"), stroke: colour }], limitLines(rpsLimits, successes)));
    const latencies = [["p95", "p95_ms", colour], ["p50", "p50_ms", PALETTE[1]]]
      .map(([name, field, stroke]) => ({ name, points: points(field), stroke }))
      .filter((line) => line.points.length);
    const latencyLimits = limits(result, /^p\d/);
    if (latencies.length) {
      const highest = latencies[0].points.map((point) => point.value);
      panel(withLimits("Latency of each second, p50 and p95", latencyLimits, highest), frame("ms", latencies,
        limitLines(latencyLimits, highest)));
    }
    drawJudgedParts(result, panel, frame);
    drawKinds(result, panel);
    drawLoad(result, panel, frame, colour);
    if (series.some((second) => second.errors)) {
      panel("Errors in each second", frame("errors a second", [], [
        Plot.rectY(series, { x1: "at_s", x2: (second) => second.at_s + 1, y: "errors", fill: PALETTE[2] }),
      ]));
    }
    drawEvidence(result, panel, frame);
    const cpu = points("server_cpu");
    if (cpu.length) {
      panel("CPU of all replicas together", frame("cores", [{ name: "CPU", points: cpu, stroke: colour }]));
    }
    for (const [figure, caption, options] of panels) draw(figure, caption, options);
  }

  // The names of lines have the same room in most charts of a run, so that their axes are equally long.
  function roomAtRight(lines, width) {
    const longest = d3.max(lines, (line) => line.name.length) ?? 0;
    return Math.min(Math.max(76, 24 + (NAME_WIDTH + 0.3) * longest), width * 0.4);
  }

  // The parts of a run, named where a chart of a width has room for the name.
  function windowNames(start, end, run_s, width) {
    const parts = [["ramp and warm-up", 0, start], ["window", start, end]];
    const roomy = parts.filter(([name, from, to]) =>
      ((to - from) / Math.max(run_s, 1)) * width > NAME_WIDTH * name.length + 8);
    return [Plot.text(roomy, { x: ([, from, to]) => (from + to) / 2, text: ([name]) => name, frameAnchor: "top",
      dy: -12, fillOpacity: 0.75 })];
  }

  // An open loop has a rate that was asked for, sent and answered; a closed loop has users.
  function drawLoad(result, panel, frame, colour) {
    const record = result.run_record;
    if (!record) return;
    const asked = { name: "asked", points: steps(result, "asked"), stroke: "currentColor", strokeDasharray: "4,3",
      curve: "step-after" };
    if (record.unit === "users") {
      const reached = { name: "reached", points: steps(result, "reached"), stroke: colour, curve: "step-after" };
      panel("Users; dashed: what was asked for", frame("users", [reached, asked]));
      return;
    }
    const sent = { name: "sent", points: steps(result, "sent"), stroke: colour };
    const answered = { name: "answered", points: steps(result, "ended"), stroke: PALETTE[1] };
    panel("Requests a second: sent and answered; dashed: what was asked for",
      frame("requests a second", [sent, answered, asked]));
  }

  function filterTable() {
    for (const row of byId("table").tBodies[0].rows) row.hidden = !matches(row.dataset.name);
    for (const details of document.querySelectorAll("details.card")) {
      details.hidden = !matches(results[Number(details.dataset.index)].name);
    }
  }

  function sortTable(column, direction) {
    const body = byId("table").tBodies[0];
    const value = (row) => {
      const text = row.cells[column].dataset.value;
      return text === "" || text === "None" ? null : Number.isNaN(Number(text)) ? text : Number(text);
    };
    const rowsSorted = d3.sort([...body.rows], (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return direction * d3.ascending(x, y);
    });
    body.append(...rowsSorted);
  }

  function drawAll() {
    paintSwatches();
    if (results.length > 1) drawComparison();
    if (byId("chart-percentiles")) drawPercentiles();
    drawCost();
    document.querySelectorAll("[data-search]").forEach(drawSearch);
    if (data.calibration) drawCalibration();
    document.querySelectorAll("section .against.charts, details.card[open] .against.charts").forEach(drawAgainst);
    document.querySelectorAll("section.card, details.card[open]").forEach(drawDetails);
  }

  function update() {
    const chosenNow = Object.fromEntries(Object.keys(state).map((name) => [name, byId(name).value]));
    if (Object.keys(state).every((name) => state[name] === chosenNow[name])) return;
    Object.assign(state, chosenNow);
    filterTable();
    drawAll();
  }

  // Only what is compared has controls and a table that sorts.
  function listen() {
    byId("table").tHead.addEventListener("click", (event) => {
      const head = event.target.closest("th");
      if (!head) return;
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of byId("table").querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      sortTable(head.cellIndex, direction);
    });

    [...byId("table").tBodies[0].rows].forEach((row, index) => { row.dataset.index = index; });
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    // Some browsers tell of a choice by one, some by the other.
    for (const name of ["input", "change"]) byId("controls").addEventListener(name, update);
    for (const details of document.querySelectorAll("details.card")) {
      details.addEventListener("toggle", () => {
        if (!details.open) return;
        details.querySelectorAll(".against.charts").forEach(drawAgainst);
        drawDetails(details);
      });
    }
  }
  if (results.length > 1) listen();
  byId("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([source], { type: "application/json" }));
    link.download = "results.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });

  let width = window.innerWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(drawAll);
  });
  drawAll();
})();
