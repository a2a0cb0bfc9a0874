// Draws each figure when it comes near the view, in the page's own colours, and again when dark and light change.
// A figure is {columns, data, layout}: "@name" stands for a column, colour names for the palette of page.css.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Set();
  const escapeHtml = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
  const wrapped = (text) => escapeHtml(text).replace(/(.{50,70}?) /g, "$1<br>&nbsp; ");

  const palette = () => {
    const style = getComputedStyle(document.documentElement), known = {};
    return (name) => (known[name] ??= style.getPropertyValue("--" + name).trim() || name);
  };

  // The short form written out: columns put in, colour names resolved under keys that end in "color".
  const resolved = (value, key, columns, colour) => {
    if (typeof value === "string") {
      if (value[0] === "@" && value.slice(1) in columns) return columns[value.slice(1)];
      return /color$/.test(key) ? colour(value) : value;
    }
    if (Array.isArray(value)) {
      if (key === "hover") return value;
      return typeof value[0] === "number" ? value : value.map((item) => resolved(item, key, columns, colour));
    }
    if (!value || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, resolved(inner, name, columns, colour)]));
  };

  const withHover = ({ hover, ...trace }) =>
    hover ? { ...trace, text: hover.map((lines) => lines.map(wrapped).join("<br>")), hovertemplate: "%{text}<extra></extra>", textposition: "none" } : trace;

  const completed = (given, colour, narrow) => {
    const lines = { gridcolor: colour("grid"), linecolor: colour("grid"), zerolinecolor: colour("rule") };
    const axes = Object.entries(given).filter(([name]) => /^yaxis/.test(name));
    const titled = (axis) => (narrow ? { ...axis, title: { text: "" } } : axis);
    const last = axes.at(-1)[0].replace("axis", "");
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, 'Segoe UI', sans-serif", size: 12, color: colour("ink-soft") },
      margin: { l: narrow ? 46 : 70, r: narrow ? 8 : 18, t: 34, b: 34 },
      hovermode: given.xaxis.type ? "closest" : "x unified",
      hoversubplots: "axis",
      hoverdistance: 8,
      hoverlabel: { align: "left", bgcolor: colour("card"), bordercolor: colour("rule"), font: { color: colour("ink"), size: 12 }, namelength: -1 },
      legend: { orientation: "h", traceorder: "normal", x: 0, y: 1, yanchor: "bottom", font: { size: 12 }, itemwidth: 30 },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      ...given,
      xaxis: { type: "date", anchor: last, showgrid: true, showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid", spikecolor: colour("rule"), hoverformat: "%a %e %b %Y %H:%M", ...lines, rangeslider: { visible: false }, ...given.xaxis },
      ...Object.fromEntries(axes.map(([name, axis]) => [name, { zeroline: false, automargin: true, ...lines, ...titled(axis) }])),
    };
  };

  // Up close, candles in place of the line, and a price axis that fits what is in view.
  const follow = (target, figure) => {
    const { line, candles, most } = figure.layout.meta;
    const { open_time: times, high, low } = figure.columns;
    let close_up = figure.data[candles].visible === true;
    target.on("plotly_relayout", (change) => {
      const moved = Object.keys(change).some((key) => key.startsWith("xaxis"));
      if (!moved || "yaxis.range" in change) return;
      const [from, to] = target._fullLayout.xaxis.range.map((at) => target._fullLayout.xaxis.d2c(at));
      const seen = times.map((at, row) => row).filter((row) => times[row] >= from && times[row] <= to);
      if (!seen.length) return;
      const bottom = Math.min(...seen.map((row) => low[row])), top = Math.max(...seen.map((row) => high[row]));
      const room = 0.05 * (top - bottom || top);
      const near = seen.length <= most;
      if (near !== close_up) Plotly.restyle(target, { visible: [!near, near] }, [line, candles]);
      close_up = near;
      Plotly.relayout(target, { "yaxis.range": [bottom - room, top + room] });
    });
  };

  const draw = (box) => {
    const figure = JSON.parse(box.querySelector("script").textContent);
    const colour = palette(), target = box.querySelector(".plot");
    const layout = completed(resolved(figure.layout, "", {}, colour), colour, target.clientWidth < 640);
    const data = figure.data.map((trace) => withHover(resolved(trace, "", figure.columns, colour)));
    const first = !drawn.has(box);
    Plotly.react(target, data, layout, { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset", showTips: false });
    if (first && layout.meta) follow(target, figure);
    drawn.add(box);
  };

  const boxes = [...document.querySelectorAll("figure")];
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !drawn.has(entry.target)) { watcher.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "300px" });
  boxes.forEach((box) => watcher.observe(box));
  dark.addEventListener("change", () => drawn.forEach(draw));
  addEventListener("beforeprint", () => boxes.filter((box) => !drawn.has(box)).forEach(draw));
})();
