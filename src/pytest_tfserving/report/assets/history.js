"use strict";
(() => {
  const series = JSON.parse(document.getElementById("data").textContent);
  const LEAST_ROOM = 0.1;

  // Room above and below the values, so that scatter is not drawn as large as the whole chart.
  function domain(points) {
    const [low, high] = d3.extent(points.flatMap((point) => [point.value, point.low, point.high]).filter((value) => value !== null));
    const room = Math.max(high - low, LEAST_ROOM * Math.abs(high)) * LEAST_ROOM || 1;
    return [low - room, high + room];
  }

  function chart(each, width) {
    const bands = each.points.filter((point) => point.low !== null);
    const about = (point) => [`run ${point.run}: ${point.name}`, point.saved_at, point.commit && `commit ${point.commit}`,
      point.server, `${Number(point.value.toPrecision(4))}`].filter(Boolean).join("\n");
    return Plot.plot({
      width,
      height: 260,
      marginLeft: 56,
      marginTop: 28,
      x: { label: "run", ticks: Math.min(10, each.points.length), tickFormat: "d" },
      y: { label: each.unit, grid: true, domain: domain(each.points) },
      marks: [
        Plot.areaY(bands, { x: "run", y1: "low", y2: "high", fill: "var(--accent)", fillOpacity: 0.15 }),
        Plot.lineY(each.points, { x: "run", y: "value", stroke: "var(--accent)" }),
        Plot.dot(each.points, { x: "run", y: "value", r: 2, fill: "var(--accent)" }),
        Plot.ruleX(each.steps, { x: (step) => step.run - 0.5, stroke: "var(--fail)", strokeDasharray: "4 3" }),
        Plot.text(each.steps, { x: (step) => step.run - 0.5, text: "text", frameAnchor: "top", dy: -12, fill: "var(--fail)" }),
        Plot.tip(each.points, Plot.pointer({ x: "run", y: "value", title: about })),
      ],
    });
  }

  function draw() {
    for (const figure of document.querySelectorAll("[data-series]")) {
      figure.querySelectorAll("figcaption ~ *").forEach((old) => old.remove());
      const each = series[Number(figure.dataset.series)];
      const svg = chart(each, Math.max(280, figure.clientWidth || 340));
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `${each.unit} of ${each.label} by run`);
      figure.append(svg);
    }
  }

  draw();
  addEventListener("resize", draw);
})();
