// The leaderboard: which board is shown, which of its rows, and two models cell by cell.

const data = readData("data");
const SEVERITIES = [1, 2, 3, 4, 5];
const FEW = 100; // rows: a browser takes over half a second to lay out a thousand
const LARGEST = 10; // percentage points: a difference as large has the darkest tint
const boards = [...document.querySelectorAll(".board")];
const conditionAt = new Map(data.conditions.map((name, place) => [name, place]));
const STATUS_WORDS = {
  reproduced: "reproduced",
  recomputed: "recomputed",
  published: "published",
  unchecked: "not checked",
};
const chosen = {
  board: 0,
  name: "",
  statuses: new Set(["reproduced", "recomputed", "published"]), // claims are shown when asked for
  publicOnly: false,
  training: "", // "" for any
  most: FEW, // rows; Infinity once all were asked for
  pair: [0, 1],
};

const words = (name) => name.replaceAll("_", " ");
const boardNow = () => data.boards[chosen.board];

// Which rows are shown.

function isShown(row) {
  const { status, public: weights, training } = row.dataset;
  return (
    chosen.statuses.has(status) &&
    (!chosen.publicOnly || weights === "yes") &&
    (chosen.training === "" || training.split(" ").includes(chosen.training)) &&
    row.querySelector("th").textContent.toLowerCase().includes(chosen.name)
  );
}

function showRows() {
  for (const [place, board] of boards.entries()) board.hidden = place !== chosen.board;
  const board = boards[chosen.board];
  const rows = [...board.querySelector("table").tBodies[0].rows];
  const fitting = new Set(rows.filter(isShown));
  const visible = new Set([...fitting].slice(0, chosen.most));
  for (const row of rows) row.hidden = !visible.has(row);
  board.querySelector(".told").textContent = `${visible.size} of ${rows.length} rows shown`;
  board.querySelector(".more").hidden = visible.size === fitting.size;
}

/** Return the button that shows the rows beyond the first ones. */
function moreButton() {
  const button = element("button", { type: "button", class: "more" }, "Show all");
  button.addEventListener("click", () => {
    chosen.most = Infinity;
    showRows();
  });
  return button;
}

function filter(change) {
  return (value) => {
    change(value);
    showRows();
  };
}

function statusTick(status) {
  const change = (checked) => {
    if (checked) chosen.statuses.add(status);
    else chosen.statuses.delete(status);
  };
  const label = tick(STATUS_WORDS[status], chosen.statuses.has(status), filter(change));
  label.title = data.statuses[status];
  return label;
}

function search() {
  const input = element("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => filter((text) => { chosen.name = text; })(input.value.toLowerCase()));
  return labelled("Name contains", input);
}

function chooseBoard(value) {
  chosen.board = Number(value);
  chosen.pair = [0, 1];
  showRows();
  showPair();
}

function choices() {
  const titles = data.boards.map(({ title }, place) => [place, title]);
  const sets = data.training.map((name, place) => [place, name]);
  const training = filter((value) => { chosen.training = value; });
  const publicOnly = filter((checked) => { chosen.publicOnly = checked; });
  const statuses = Object.keys(data.statuses).map(statusTick);
  return [
    choice("Protocol and benchmark", titles, 0, chooseBoard),
    search(),
    choice("Training data", [["", "any"], ...sets], "", training),
    element("fieldset", {}, element("legend", {}, "Status"), ...statuses),
    element("fieldset", {}, element("legend", {}, "Weights"), tick("public only", false, publicOnly)),
  ];
}

// Two models, cell by cell.

function showPair() {
  const options = boardNow().rows.map((row, place) => [place, labelOf(row)]);
  const pick = (end) => (value) => {
    chosen.pair[end] = Number(value);
    showComparison();
  };
  chosen.pair = chosen.pair.map((place) => Math.min(place, options.length - 1));
  fill(document.getElementById("pair"), [
    choice("First", options, chosen.pair[0], pick(0)),
    choice("Second", options, chosen.pair[1], pick(1)),
  ]);
  showComparison();
}

function labelOf(row) {
  const sent = new Map(row.facts).get("sent");
  return `${row.name} (${[STATUS_WORDS[row.status], sent].filter(Boolean).join(", ")})`;
}

function showComparison() {
  const [first, second] = chosen.pair.map((place) => boardNow().rows[place]);
  const frames = [differenceTable(first, second), factTable(first, second)];
  fill(document.getElementById("comparison"), frames);
  for (const table of document.querySelectorAll("#comparison table")) makeSortable(table);
}

function differenceTable(first, second) {
  const labels = [...SEVERITIES.map((severity) => `Severity ${severity}`), "Mean"];
  const lines = [
    `${first.name} less ${second.name}`,
    `percentage points of PCK; blue and +: ${first.name} is better; orange and -: ${second.name} is`,
    boardNow().counted,
  ];
  const rows = data.corruptions.map((name) => differenceRow(name, first, second));
  const blank = SEVERITIES.map(() => element("td", { class: "number" }, MISSING));
  const whole = differenceCell("clean", ["clean"], first, second);
  const clean = element("tr", {}, rowName("clean"), ...blank, whole);
  return frame("difference", lines, ["Corruption", ...labels], [clean, ...rows], "number");
}

function differenceRow(name, first, second) {
  const cells = SEVERITIES.map((severity) => [`${name}@${severity}`]);
  const spans = [...cells, cells.flat()];
  const about = (of) => (of.length > 1 ? `${words(name)}, mean` : of[0]);
  const values = spans.map((of) => differenceCell(about(of), of, first, second));
  return element("tr", {}, rowName(words(name)), ...values);
}

function differenceCell(about, conditions, first, second) {
  const [mine, theirs] = [first, second].map(({ values }) =>
    mean(conditions.map((name) => values[conditionAt.get(name)])),
  );
  const value = mine - theirs;
  const step = Math.min(TINTS, Math.ceil((TINTS * Math.abs(value)) / LARGEST - 0.5));
  const side = value < 0 ? "counter" : "";
  const tint = step > 0 ? `number tint-${step} ${side}`.trim() : "number";
  const title = `${about}: ${shown(mine)} and ${shown(theirs)}`;
  const text = `${value > 0 ? "+" : ""}${shown(value)}`;
  return element("td", { class: tint, title, "data-value": value }, text);
}

function factTable(first, second) {
  const facts = [first, second].map((row) => new Map([["status", STATUS_WORDS[row.status]], ...row.facts]));
  const names = [...new Set(facts.flatMap((each) => [...each.keys()]))];
  const cellOf = (text) => element("td", { class: "text" }, nameOf(text ?? MISSING));
  const rows = names.map((name) =>
    element("tr", {}, rowName(name), ...facts.map((each) => cellOf(each.get(name)))),
  );
  return frame("facts", ["What the entries say"], ["", first.name, second.name], rows, "text");
}

function rowName(text) {
  return element("th", { scope: "row", class: "text" }, text);
}

/** Return a table in its frame, as `grid` in grid.py makes one. */
function frame(name, lines, labels, rows, kind) {
  const caption = element("caption", {}, ...captionLines(name, lines));
  const heads = labels.map((label, place) => element(label ? "th" : "td", {
    scope: label ? "col" : null,
    class: place === 0 ? "text name" : kind,
    "data-column": place,
    "data-first": kind === "number" && place > 0 ? "descending" : "ascending",
  }, nameOf(label)));
  const table = element("table", { class: "grid", id: name }, caption);
  table.append(element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
  const labelled = { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": `${name}-title` };
  return element("div", labelled, table);
}

fill(document.getElementById("choices"), choices());
for (const board of boards) {
  board.querySelector(".told").after(moreButton());
  board.querySelector("table").addEventListener("sorted", showRows);
}
showRows();
showPair();
