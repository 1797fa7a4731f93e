// The report: what the table counts, and which severity the match pictures show.

const data = readData("data");
const SEVERITIES = [1, 2, 3, 4, 5];
const CORRUPTIONS = Object.values(data.groups).flat();
const scoresOf = data.models.map(decoded);
const chosen = {
  models: new Set(data.models.keys()),
  corruption: "", // "" for all; a group's or a corruption's name
  severity: 0, // 0 for the mean of all five
  category: 0,
  alpha: data.alphas.indexOf(data.begin.alpha),
  protocol: data.protocols.findIndex((each) => each.name === data.begin.protocol),
};
let sorted = null; // the column's words and the direction, kept when the table is made anew

/** Return a function from condition to score of one model, under what is chosen. */
function decoded(model) {
  const bytes = Uint8Array.from(atob(model.pck), (letter) => letter.charCodeAt(0));
  const values = new DataView(bytes.buffer);
  const rowOf = new Map(model.conditions.map((condition, row) => [data.conditions[condition], row]));
  return (condition) => {
    if (!rowOf.has(condition)) return null;
    const row = chosen.protocol * rowOf.size + rowOf.get(condition);
    const cell = (row * data.categories.length + chosen.category) * data.alphas.length;
    return values.getFloat32(4 * (cell + chosen.alpha), true);
  };
}

const words = (name) => name.replaceAll("_", " ");
const howCounted = () => {
  const protocol = data.protocols[chosen.protocol];
  return `${protocol.metrics[chosen.alpha]}, protocol ${protocol.name}`;
};

// Columns: a label, what it is in full, the group it stands under, and the conditions it averages.

function columnsNow() {
  const clean = { label: "Clean", title: "clean pictures", group: "", of: ["clean"] };
  const shownOnes = CORRUPTIONS.includes(chosen.corruption) ? bySeverity() : byCorruption();
  const last = { label: "Mean", title: "mean of the corruptions shown", group: "" };
  return shownOnes.length > 1 ? [clean, ...shownOnes, last] : [clean, ...shownOnes];
}

function byCorruption() {
  const names = data.groups[chosen.corruption] ?? CORRUPTIONS;
  const over = chosen.severity === 0 ? "mean of severities 1 to 5" : `severity ${chosen.severity}`;
  return names.map((name) => ({
    label: data.short[name],
    title: `${words(name)}, ${over}`,
    group: groupOf(name),
    of: severitiesNow().map((severity) => `${name}@${severity}`),
  }));
}

function bySeverity() {
  return severitiesNow().map((severity) => ({
    label: `Severity ${severity}`,
    title: `${words(chosen.corruption)}, severity ${severity}`,
    group: groupOf(chosen.corruption),
    of: [`${chosen.corruption}@${severity}`],
  }));
}

function severitiesNow() {
  return chosen.severity === 0 ? SEVERITIES : [chosen.severity];
}

function groupOf(name) {
  return Object.keys(data.groups).find((group) => data.groups[group].includes(name));
}

// The table, anew for every choice.

function showTable() {
  const table = document.getElementById("scores");
  const columns = columnsNow();
  const models = [...chosen.models].sort((first, second) => first - second);
  const rows = models.map((model) => valuesOf(scoresOf[model], columns));
  fill(table.tHead, headRows(columns));
  fill(table.tBodies[0], bodyRows(models, rows, columns));
  const lines = linesNow();
  fill(table.caption, captionLines("scores", lines));
  makeSortable(table);
  sortAgain(table);
  document.getElementById("told").textContent = `${lines[0]}; ${lines[1]}`;
}

function valuesOf(scoreOf, columns) {
  const values = columns.filter((each) => each.of).map((each) => mean(each.of.map(scoreOf)));
  return values.length < columns.length ? [...values, mean(values.slice(1))] : values;
}

function headRows(columns) {
  const above = [headCell({ label: "Model", title: "", group: "" }, 0, "text name")];
  const below = [];
  for (const [place, column] of columns.entries()) {
    if (column.group) below.push(headCell(column, place + 1, "number"));
    else above.push(headCell(column, place + 1, "number"));
    if (column.group && column.group !== columns[place - 1].group) above.push(groupCell(column, columns));
  }
  return [element("tr", {}, ...above), element("tr", {}, ...below)];
}

function headCell({ label, title, group }, place, kind) {
  return element("th", {
    scope: "col",
    rowspan: group ? null : 2,
    class: kind,
    title: title || null,
    "data-column": place,
    "data-first": place === 0 ? "ascending" : "descending",
  }, label);
}

function groupCell({ group }, columns) {
  const span = columns.filter((each) => each.group === group).length;
  const label = element("span", { class: `group ${group}` }, group);
  return element("th", { colspan: span, scope: "colgroup" }, label);
}

function bodyRows(models, rows, columns) {
  const known = rows.flat().filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return rows.map((values, row) => {
    const label = nameOf(data.models[models[row]].label);
    const name = element("th", { scope: "row", class: "text" }, label);
    const cells = values.map((value, place) => scoreCell(value, columns[place], low, high));
    return element("tr", {}, name, ...cells);
  });
}

function scoreCell(value, column, low, high) {
  const tint = tintOf(value, low, high);
  return element("td", {
    class: tint ? `number tint-${tint}` : "number",
    title: `${column.title}; ${howCounted()}`,
    "data-value": value,
  }, shown(value));
}

function linesNow() {
  const category = data.categories[chosen.category];
  const which = chosen.category === 0 ? "all categories" : `category ${category.name}`;
  const over = chosen.severity === 0 ? "mean of severities 1 to 5" : `severity ${chosen.severity}`;
  const what = CORRUPTIONS.includes(chosen.corruption)
    ? `PCK by severity of ${words(chosen.corruption)}`
    : `PCK by corruption, ${over}`;
  const pairs = `${which}, ${category.pairs} pairs`;
  return [what, `${howCounted()}; ${pairs}`, `${data.dataset}; the stronger the tint, the higher`];
}

function sortAgain(table) {
  const headings = [...table.tHead.querySelectorAll("[data-column]")];
  const heading = sorted && headings.find((each) => each.textContent === sorted.label);
  if (heading) sortBy(table, heading, sorted.direction);
}

function rememberOrder(table) {
  const heading = table.tHead.querySelector("[aria-sort]");
  sorted = { label: heading.textContent, direction: heading.getAttribute("aria-sort") };
}

// The choices above it.

function choose(what, convert = Number) {
  return (value) => {
    chosen[what] = convert(value);
    showTable();
  };
}

function numbered(labels) {
  return labels.map((label, place) => [place, label]);
}

function choices() {
  const groups = Object.entries(data.groups).map(([group, names]) => [
    group,
    [[group, `all ${group}`], ...names.map((name) => [name, words(name)])],
  ]);
  const severities = SEVERITIES.map((severity) => [severity, `severity ${severity}`]);
  const categories = data.categories.map(({ name }) => name);
  const protocols = data.protocols.map(({ name }) => name);
  return [
    choice("Corruption", [["", "all fifteen"], ...groups], "", choose("corruption", String)),
    choice("Severity", [[0, "mean of 1 to 5"], ...severities], 0, choose("severity")),
    choice("Category", numbered(["all", ...categories.slice(1)]), 0, choose("category")),
    choice("Tolerance alpha", numbered(data.alphas), chosen.alpha, choose("alpha")),
    choice("Protocol", numbered(protocols), chosen.protocol, choose("protocol")),
  ];
}

function modelChoices() {
  const ticks = data.models.map(({ label }, model) =>
    tick(nameOf(label), true, (checked) => {
      if (checked) chosen.models.add(model);
      else chosen.models.delete(model);
      showTable();
    }),
  );
  return element("fieldset", {}, element("legend", {}, "Models"), ...ticks);
}

// Match pictures: all six lie in the page, one is shown.

function makeSlider(pair) {
  const pictures = [...pair.querySelectorAll("li")];
  const input = pair.querySelector("input");
  const show = () => {
    for (const [severity, each] of pictures.entries()) each.hidden = severity !== Number(input.value);
    const told = pictures[Number(input.value)].dataset.told;
    pair.querySelector("output").textContent = told;
    input.setAttribute("aria-valuetext", told);
  };
  input.addEventListener("input", show);
  show();
}

fill(document.getElementById("choices"), [...choices(), modelChoices()]);
document.getElementById("scores").addEventListener("sorted", (event) => rememberOrder(event.target));
showTable();
for (const pair of document.querySelectorAll(".pair")) makeSlider(pair);
