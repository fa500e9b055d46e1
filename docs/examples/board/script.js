// The page of board.lua: shows notes as they come over a WebSocket, and sends new ones. Whatever others have written
// gets into the page as textContent only, so that none of it can be markup.

const PICTURE_MAX = 5 * 1024 * 1024; // bytes, as in board.lua
const PICTURES = /^(\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP)/s; // how their files begin
const WAIT_MIN = 500, WAIT_MAX = 30000; // milliseconds until the page connects again
const BEAT = 20000; // milliseconds; a connection that brings nothing for so long after a question is lost

const find = (id) => document.getElementById(id);
const form = find("form"), text = find("text"), name = find("name"), progress = find("progress");

// ---- What this browser remembers: the name, and the key that makes notes its own ----

let memory = {};
try { memory = localStorage; } catch { /* a browser may forbid it: then it remembers until the page is closed */ }
const key = (memory.boardKey ||= crypto.getRandomValues(new Uint8Array(16)).join("-"));
name.value = memory.boardName || "";

// ---- Notes ----

const notes = new Map(); // number -> its card

// Says to the grid how many of its rows a card takes: those of its height and of the gap below.
const heights = new ResizeObserver((entries) => {
  for (const {target} of entries) {
    target.style.gridRowEnd = `span ${Math.ceil(target.getBoundingClientRect().height) + 16}`;
  }
});
heights.observe(form);

function makeCard(note) {
  const card = find("note").content.cloneNode(true).firstElementChild;
  const part = (css) => card.querySelector(css);
  const date = new Date(note.time * 1000), isToday = date.toDateString() === new Date().toDateString();
  const shown = date.toLocaleString([], {timeStyle: "short", dateStyle: isToday ? undefined : "medium"});
  part(".text").textContent = note.text;
  part(".text").hidden = note.text === "";
  part("b").textContent = note.name;
  part(".initial").textContent = Array.from(note.name)[0];
  Object.assign(part("time"), {textContent: shown, dateTime: date.toISOString(), title: date.toLocaleString()});
  if (note.picture) {
    part("a").href = part("img").src = "pictures/" + encodeURIComponent(note.picture);
    part("img").alt = `Picture from ${note.name}`;
  }
  part("a").hidden = !note.picture;
  part(".remove").hidden = !note.mine;
  part(".remove").onclick = (event) => askRemove(event.target, note.id);
  part(".remove").onblur = (event) => askRemove(event.target);
  return card;
}

// The first click asks, the second one removes.
function askRemove(button, id) {
  if (id && button.classList.contains("sure")) send({kind: "remove", id});
  button.classList.toggle("sure", Boolean(id));
  button.textContent = id ? "Remove it?" : "Remove";
}

function show(news) {
  const came = Array.from(news.notes || []), there = new Set(came.map((note) => note.id)); // an empty list comes as {}
  // The first notes of a connection are all that there are: the page may show others, which have gone meanwhile.
  const isAll = news.notes && !known;
  for (const id of isAll ? Array.from(notes.keys()).filter((each) => !there.has(each)) : news.gone || []) {
    if (notes.get(id)?.contains(document.activeElement)) find("post").focus({preventScroll: true});
    notes.get(id)?.remove();
    notes.delete(id);
  }
  const fresh = came.filter((note) => !notes.has(note.id));
  for (const note of fresh) {
    const card = makeCard(note);
    notes.set(note.id, card);
    card.classList.toggle("new", known);
    find("notes").prepend(card);
    heights.observe(card);
  }
  const last = fresh.at(-1);
  if (known && last && !last.mine) find("news").textContent = `${last.name}: ${last.text || "a picture"}`;
  known ||= Boolean(news.notes);
  find("empty").hidden = notes.size > 0;
}

// ---- The connection ----

// known: this connection has brought all notes; heard: something has come since the last beat
let socket, known = false, heard = false, wait = WAIT_MIN, timer;

function say(state, live = false) {
  find("state").textContent = state;
  find("state").classList.toggle("live", live);
}

function connect() {
  clearTimeout(timer);
  known = false;
  say("Connecting");
  socket = new WebSocket(new URL("live", location.href.replace(/^http/, "ws")));
  socket.onopen = beat;
  socket.onmessage = (event) => {
    const news = JSON.parse(event.data);
    heard = true;
    show(news);
    if (news.problem) complain(news.problem);
    if (news.done === "note") posted();
    if (known) { wait = WAIT_MIN; say("Live", true); }
  };
  socket.onclose = () => {
    const pause = wait * (0.5 + Math.random() / 2); // not all pages at once when a server comes back
    wait = Math.min(wait * 2, WAIT_MAX);
    say(pause < 1000 ? "Connecting again" : `No connection. Next try in ${Math.round(pause / 1000)} s`);
    timer = setTimeout(connect, pause);
  };
}

// A network that goes away tells nobody: ask, and see whether an answer comes.
function beat() {
  heard = false;
  send({kind: "hello", key});
}

function send(message) {
  if (socket.readyState !== WebSocket.OPEN) return complain("There is no connection now. Try again in a moment.");
  socket.send(JSON.stringify(message));
}

// ---- A new note ----

let picture = null, upload = null, sent = ""; // sent: the text of the last note

function complain(problem) {
  find("problem").textContent = problem;
  find("problem").hidden = !problem;
}

function choose(file) {
  picture = file;
  find("file").value = "";
  find("chosen").hidden = !file;
  find("chosen-name").textContent = file ? file.name : "";
}

// The server looks at the file, too. This tells the reader before anything is sent.
async function offer(file) {
  if (!file || upload) return;
  complain("");
  choose(null);
  if (file.size > PICTURE_MAX) return complain("This file is too large: a picture has at most 5 MB.");
  const head = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  if (!PICTURES.test(String.fromCharCode(...head))) return complain("This file is no PNG, JPEG, GIF or WebP picture.");
  choose(file);
}

function posted() {
  if (text.value === sent) text.value = ""; // else it is the next note already
  choose(null);
}

function sendPicture(fields) {
  const data = new FormData();
  for (const [field, value] of Object.entries({...fields, picture})) data.append(field, value);
  upload = new XMLHttpRequest();
  const ends = (problem) => {
    upload = null;
    progress.hidden = true;
    find("post").disabled = false;
    if (problem) complain(problem); else posted();
  };
  progress.value = 0;
  progress.hidden = false;
  find("post").disabled = true;
  upload.upload.onprogress = (event) => { progress.value = event.loaded / event.total; };
  upload.onload = ({target}) => ends(target.status === 204 ? "" : target.responseText.replace(/^\d+ [^:]*: /, ""));
  upload.onerror = () => ends("The picture did not get through. Try again.");
  upload.onabort = () => { ends("The upload was stopped."); choose(null); };
  upload.open("POST", "pictures");
  upload.send(data);
}

form.onsubmit = (event) => {
  event.preventDefault();
  name.value = name.value.trim();
  if (upload || !form.reportValidity()) return;
  complain("");
  memory.boardName = name.value;
  const fields = {name: name.value, text: sent = text.value, key};
  if (picture) sendPicture(fields); else send({kind: "note", ...fields});
};
text.onkeydown = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); };
find("file").onchange = (event) => offer(event.target.files[0]);
find("drop").onclick = () => { if (upload) upload.abort(); else choose(null); };
document.onpaste = (event) => offer(event.clipboardData.files[0]);
document.ondragover = (event) => { event.preventDefault(); form.classList.add("over"); };
document.ondragleave = (event) => { if (!event.relatedTarget) form.classList.remove("over"); };
document.ondrop = (event) => {
  event.preventDefault();
  form.classList.remove("over");
  offer(event.dataTransfer.files[0]);
};
window.ononline = () => { if (socket.readyState === WebSocket.CLOSED) connect(); };
setInterval(() => { if (socket.readyState === WebSocket.OPEN) { if (heard) beat(); else socket.close(); } }, BEAT);
connect();
