'use strict';
// What comes from outside reaches the page by textContent alone.

const $ = (id) => document.getElementById(id);
const views = ['login', 'now', 'queue', 'trace', 'message', 'badmail', 'domains', 'send'];
let current = '', timers = [], stream = null, span = 'hour';

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function toast(text) {
  const shown = make('div', { class: 'toast' }, text);
  $('toasts').append(shown);
  while ($('toasts').children.length > 3) $('toasts').firstChild.remove();
  setTimeout(() => shown.remove(), 6000);
}

// ---- asking the server ----

async function ask(method, path, body, type) {
  const headers = { 'X-Mailroot': '1' };
  if (body !== undefined) headers['Content-Type'] = type || 'application/json';
  const answer = await fetch(path, { method, headers, body: body === undefined || type ? body : JSON.stringify(body) });
  const value = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== '/admin/login') show('login');
  if (!answer.ok) throw new Error(value.error || `The server answered ${answer.status}.`);
  return value;
}

async function attempt(work) {
  try {
    return await work();
  } catch (fault) {
    if (current !== 'login') toast(fault.message);
    return null;
  }
}

let decide = null; // of the question that is open

// The answer is what was pressed, not the dialog's `close`, which comes later: by then the next question may be open.
function confirmed(title, text, yes, label) {
  if (decide) decide(null);
  $('ask-title').textContent = title;
  $('ask-text').textContent = text;
  $('ask-yes').textContent = yes;
  $('ask-field').hidden = !label;
  $('ask-label').textContent = label || '';
  $('ask-value').value = '';
  $('ask-value').required = Boolean(label);
  $('ask').showModal();
  return new Promise((done) => {
    decide = (value) => {
      decide = null;
      $('ask').close();
      done(value);
    };
  });
}

$('ask-no').addEventListener('click', () => decide && decide(null));
$('ask').addEventListener('cancel', () => decide && decide(null));
$('ask').addEventListener('close', () => decide && !$('ask').open && decide(null));
$('ask').firstElementChild.addEventListener('submit', (event) => {
  event.preventDefault();
  if (decide) decide($('ask-field').hidden || $('ask-value').value);
});

// ---- words for figures ----

function size(octets) {
  for (const unit of ['B', 'KB', 'MB', 'GB']) {
    if (octets < 1024 || unit === 'GB') return `${octets < 10 && unit !== 'B' ? octets.toFixed(1) : Math.round(octets)} ${unit}`;
    octets /= 1024;
  }
}

function length(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

const ago = (ms) => (ms ? length(Date.now() - ms) : '–');
const until = (ms) => (!ms ? '–' : ms <= Date.now() ? 'due' : `in ${length(ms - Date.now())}`);
const kindClass = (kind) => ({ delivered: 'good', taken: '', deferred: 'wait', held: 'wait', unknown: 'wait', warning: 'wait' }[kind]
  ?? (['bounced', 'expired', 'refused', 'rejected', 'badmail', 'error', 'removed'].includes(kind) ? 'bad' : ''));

function eventItem(event) {
  const time = new Date(event.time);
  const words = [];
  if (event.pickup) words.push(event.pickup);
  if (event.from !== undefined && event.event === 'taken') words.push(`from <${event.from}>`);
  if (event.to) words.push(`to <${event.to}>`);
  if (event.mx || event.ip) words.push(`at ${event.mx || ''} ${event.ip || ''}`.trim());
  for (const key of ['tls', 'status', 'reply', 'reason', 'note']) if (event[key]) words.push(event[key]);
  if (event.next) words.push(`next try ${new Date(event.next).toLocaleString()}`);
  const what = make('span', { class: 'what' }, words.join(' · '));
  if (event.id) what.append(' ', make('a', { href: `#message/${event.id}`, class: 'mono' }, event.id));
  return make('li', {}, make('time', { datetime: event.time, title: time.toLocaleString() }, time.toLocaleTimeString()),
    make('span', { class: kindClass(event.event) }, event.event), what);
}

// ---- now ----

function figure(name, value, isBad) {
  return make('div', isBad ? { class: 'bad' } : {}, make('dt', {}, name), make('dd', {}, String(value)));
}

async function showStatus() {
  const status = await ask('GET', '/v1/status');
  $('host').textContent = status.hostname;
  const last = status.last_minutes;
  $('figures').replaceChildren(
    figure('in the queue', status.messages), figure('due', status.due), figure('held', status.held),
    figure('oldest', status.oldest_ms ? length(status.now_ms - status.oldest_ms) : '–'),
    figure('delivered lately', last.delivered), figure('put off lately', last.deferred), figure('bounced lately', last.bounced, last.bounced > 0),
    figure('to Badmail lately', last.refused + last.badmail, last.refused + last.badmail > 0),
    figure('connections', status.connections), figure('octets', size(status.octets)),
    ...Object.entries(status.nodes || {}).map(([name, node]) => figure(`node ${name}`, `${node.claims} claimed, ${node.connections} connections`,
      node.lease_ms < 0)));
}

async function showDestinations() {
  const { destinations, domains, is_partial } = await ask('GET', '/v1/destinations');
  $('destinations-note').textContent = is_partial ? 'Of the oldest 5,000 messages; the others are being counted.'
    : domains > destinations.length ? `The ${destinations.length} with most messages, of ${domains}.`
    : domains ? '' : 'Nothing waits.';
  $('destinations').replaceChildren(...destinations.map((d) => make('tr', {},
    make('td', {}, make('a', { href: `#queue/domain=${encodeURIComponent(d.domain)}` }, d.domain)),
    make('td', { class: 'number' }, String(d.messages)), make('td', { class: 'number' }, String(d.held)),
    make('td', {}, ago(d.oldest_ms)), make('td', {}, until(d.next_ms)),
    make('td', { class: d.reply ? 'wait' : 'quiet' }, d.reply ? `${d.host ? d.host + ': ' : ''}${d.reply}` : 'not tried yet'))));
}

function svg(name, attributes, text) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const graphWidth = () => Math.max(300, $('graph-mail').clientWidth);

function frame(points, top, format, label) {
  const picture = svg('svg', { viewBox: `0 0 ${graphWidth()} 150`, role: 'img', 'aria-label': label });
  const time = (at) => {
    const date = new Date(points[at].time * 1000);
    return span === 'month' ? date.toLocaleDateString() : date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  };
  for (const part of [0, 0.5, 1]) picture.append(svg('line', { x1: 0, x2: graphWidth(), y1: 130 - 115 * part, y2: 130 - 115 * part }));
  picture.append(svg('text', { x: 2, y: 12 }, format(top)), svg('text', { x: 2, y: 146 }, time(0)),
    svg('text', { x: graphWidth() - 2, y: 146, 'text-anchor': 'end' }, time(points.length - 1)));
  return picture;
}

async function showGraphs() {
  const { points } = await ask('GET', `/v1/graph?span=${span}`);
  const kinds = ['delivered', 'deferred', 'bounced'];
  const total = (p) => kinds.reduce((sum, kind) => sum + p[kind], 0);
  const top = Math.max(1, ...points.map(total)), width = graphWidth() / points.length;
  const sums = kinds.map((kind) => `${points.reduce((sum, p) => sum + p[kind], 0)} ${kind}`).join(', ');
  const bars = frame(points, top, (n) => String(n), `Over the last ${span}: ${sums}`);
  points.forEach((point, at) => {
    let y = 130;
    for (const kind of kinds) {
      const height = 115 * point[kind] / top;
      if (!height) continue;
      y -= height;
      bars.append(svg('rect', { class: kind, x: at * width + 0.5, y, width: Math.max(1, width - 1), height }));
    }
  });
  $('graph-mail').replaceChildren(bars);
  const slowest = Math.max(1, ...points.map((p) => p.delay_ms));
  const line = frame(points, slowest, length, `Mean delivery time over the last ${span}, at most ${length(slowest)}`);
  line.append(svg('polyline', { points: points.map((p, at) => `${(at + 0.5) * width},${130 - 115 * p.delay_ms / slowest}`).join(' ') }));
  $('graph-delay').replaceChildren(line);
}

function listen() {
  if (stream) return;
  stream = new EventSource('/v1/events');
  stream.onopen = () => { $('live').className = 'on'; $('live').textContent = 'live'; };
  stream.onerror = () => { $('live').className = 'off'; $('live').textContent = 'not connected'; };
  stream.addEventListener('mail', (message) => {
    const list = $('happening');
    list.prepend(eventItem(JSON.parse(message.data)));
    while (list.children.length > 100) list.lastChild.remove();
  });
}

// ---- the queue ----

const chosen = () => [...document.querySelectorAll('#messages input:checked')].map((box) => box.value);

function tellChosen() {
  const count = chosen().length;
  $('chosen').textContent = count ? `${count} chosen` : 'none chosen';
  for (const button of document.querySelectorAll('[data-verb]')) button.disabled = count === 0;
}

function messageRow(m) {
  const states = [...new Set(m.recipients.map((r) => r.state))];
  const to = m.recipients.slice(0, 3).map((r) => r.address).join(', ') + (m.recipients.length > 3 ? ` and ${m.recipients.length - 3} more` : '');
  return make('tr', {},
    make('td', {}, make('input', { type: 'checkbox', value: m.id, 'aria-label': `Choose ${m.id}`, onchange: tellChosen })),
    make('td', {}, make('a', { href: `#message/${m.id}`, class: 'mono' }, m.id), make('br'), m.subject || ''),
    make('td', {}, m.sender || '<>'), make('td', {}, to),
    make('td', {}, ...states.map((state) => make('span', { class: `badge ${kindClass(state)}` }, state))),
    make('td', { class: 'number' }, size(m.size)), make('td', {}, ago(Date.parse(m.arrived))));
}

// The first page of what matches, or with `after` the one behind that message, put below what is shown.
async function search(after) {
  const asked = new URLSearchParams([...new FormData($('search'))].filter(([, value]) => value));
  if (after) asked.set('after', after);
  const { messages, has_more, next } = await ask('GET', `/v1/messages?${asked}`);
  if (!after) $('messages').replaceChildren();
  $('messages').append(...messages.map(messageRow));
  const count = $('messages').children.length;
  $('messages-note').textContent = has_more ? `The ${count} oldest are shown.` : count ? `${count} found.` : 'Nothing in the queue matches.';
  $('more').hidden = !has_more;
  $('more').value = next || '';
  $('choose-all').checked = false;
  tellChosen();
}

async function change(verb, ids) {
  const many = ids.length === 1 ? 'this message' : `${ids.length} messages`;
  const body = { verb, filter: { ids } };
  if (verb === 'remove' && !await confirmed('Remove', `Remove ${many} from the queue? Nobody is told, and it can't be undone.`, 'Remove')) return;
  if (verb === 'reroute') {
    body.route = await confirmed('Reroute', `Send ${many} to another host from now on.`, 'Reroute', 'Host, with :port if it is not 25');
    if (!body.route) return;
  }
  const done = await attempt(() => ask('POST', '/v1/messages/change', body));
  if (!done) return;
  toast(`${verb}: ${done.count} changed`);
  await attempt(current === 'message' ? () => showMessage(ids[0]) : () => search());
}

// ---- one message ----

async function showMessage(id) {
  const { message, events } = await ask('GET', `/v1/messages/${encodeURIComponent(id)}`);
  $('message-title').textContent = `Message ${id}`;
  $('message-events').replaceChildren(...events.map(eventItem));
  if (!message) {
    $('message').replaceChildren(make('p', { class: 'quiet' }, 'It has left the queue.'));
    return;
  }
  const pairs = [['Subject', message.subject], ['From', message.sender || '<>'], ['Pickup file', message.pickup], ['Owner', message.owner],
    ['Message-ID', message.message_id], ['Size', size(message.size)], ['Arrived', new Date(message.arrived).toLocaleString()]];
  const rows = message.recipients.map((r) => make('tr', {}, make('td', {}, r.address),
    make('td', {}, make('span', { class: `badge ${kindClass(r.state)}` }, r.state)), make('td', { class: 'number' }, String(r.attempts)),
    make('td', {}, r.next ? until(Date.parse(r.next)) : '–'), make('td', {}, r.reply ? `${r.host || ''} ${r.reply}` : '')));
  $('message').replaceChildren(
    make('div', { class: 'row', role: 'group', 'aria-label': 'Change this message' }, ...['hold', 'release', 'retry', 'reroute', 'remove'].map((verb) =>
      make('button', { class: verb === 'remove' ? 'danger' : 'quiet', onclick: () => change(verb, [id]) }, verb[0].toUpperCase() + verb.slice(1)))),
    make('div', { class: 'card' }, make('dl', { class: 'pairs' }, ...pairs.filter(([, value]) => value)
      .flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]))),
    make('div', { class: 'card scroll', tabindex: 0, role: 'region', 'aria-label': 'Recipients' }, make('table', {},
      make('thead', {}, make('tr', {}, ...['Recipient', 'State', 'Attempts', 'Next try', 'Last answer'].map((name) => make('th', { scope: 'col' }, name)))),
      make('tbody', {}, ...rows))),
    make('details', { class: 'card' }, make('summary', {}, 'Header'), make('pre', { tabindex: 0 }, message.header || '')));
}

// ---- Badmail ----

function badCard(bad) {
  const place = make('div', {});
  const path = `/v1/badmail/${encodeURIComponent(bad.name)}`;
  const open = async () => {
    const whole = await attempt(() => ask('GET', path));
    if (!whole) return;
    const id = `mend-${bad.name}`;
    const text = make('textarea', { id, rows: 14, spellcheck: 'false' });
    text.value = whole.message || '';
    const send = async () => {
      const done = await attempt(() => ask('POST', path, whole.message === text.value ? {} : { message: text.value }));
      if (done) { toast(`Resubmitted as ${done.pickup}`); await attempt(showBadmail); }
    };
    place.replaceChildren(...(whole.is_text
      ? [make('label', { for: id }, 'The message: mend it here, then resubmit'), text,
        make('div', { class: 'row' }, make('button', { onclick: send }, 'Resubmit'))]
      : [make('p', {}, 'It is no text: it can only be resubmitted as it is.'), make('button', { onclick: send }, 'Resubmit')]));
    text.focus();
  };
  const remove = async () => {
    if (!await confirmed('Remove', `Remove ${bad.file || bad.name} for good?`, 'Remove')) return;
    if (await attempt(() => ask('DELETE', path))) await attempt(showBadmail);
  };
  return make('article', { class: 'card' }, make('h2', {}, bad.file || bad.name), make('p', { class: 'bad' }, bad.reason || ''),
    make('p', { class: 'quiet' }, [bad.time && new Date(bad.time).toLocaleString(), bad.sender && `from ${bad.sender}`,
      bad.recipients && `to ${bad.recipients}`, bad.owner && `written by ${bad.owner}`].filter(Boolean).join(' · ')),
    make('div', { class: 'row' }, make('button', { onclick: open, 'aria-label': `Mend and resubmit ${bad.file || bad.name}` }, 'Mend and resubmit'),
      make('button', { class: 'danger', onclick: remove, 'aria-label': `Remove ${bad.file || bad.name}` }, 'Remove…')), place);
}

async function showBadmail() {
  const { badmail, total } = await ask('GET', '/v1/badmail');
  $('badmail-note').textContent = total === 0 ? 'Nothing lies there.'
    : total > badmail.length ? `${badmail.length} of ${total}, the newest first.` : `${total} that could be neither delivered nor returned.`;
  $('badmail').replaceChildren(...badmail.map(badCard));
}

// ---- domains, trace, sending ----

async function showDomains() {
  const { routes, others } = await ask('GET', '/v1/domains');
  const rows = routes.map((r) => [r.domain, r.hosts.join(', ') || 'its MX hosts', r.tls, r.connections]);
  if (!routes.some((r) => r.domain === '*')) rows.push(['all others', 'their MX hosts', others.tls, others.connections]);
  $('domains').replaceChildren(...rows.map(([domain, hosts, tls, connections]) => make('tr', {}, make('td', {}, domain), make('td', {}, hosts),
    make('td', {}, tls), make('td', { class: 'number' }, String(connections)))));
}

async function trace(word) {
  const { events } = await ask('GET', `/v1/trace?q=${encodeURIComponent(word)}`);
  $('trace-note').textContent = events.length ? `${events.length} events` : 'Nothing is known of that.';
  $('trace-events').hidden = events.length === 0;
  $('trace-events').replaceChildren(...events.map(eventItem));
}

async function sendFile(file) {
  const done = await attempt(async () => ask('POST', '/v1/messages', await file.arrayBuffer(), 'message/rfc822'));
  if (!done) return;
  toast(`${file.name} is in Pickup as ${done.pickup}`);
  $('trace-word').value = done.pickup;
  location.hash = '#trace';
}

// ---- views ----

const entering = {
  now: () => {
    listen();
    const all = () => attempt(() => Promise.all([showStatus(), showDestinations(), showGraphs()]));
    timers.push(setInterval(all, 3000));
    return all();
  },
  queue: (rest) => {
    if (rest) for (const [key, value] of new URLSearchParams(rest)) if ($('search').elements[key]) $('search').elements[key].value = value;
    return attempt(() => search());
  },
  trace: () => { $('trace-word').focus(); return $('trace-word').value && attempt(() => trace($('trace-word').value)); },
  message: (id) => attempt(() => showMessage(id)),
  badmail: () => attempt(showBadmail),
  domains: () => attempt(showDomains),
  login: () => { if (stream) stream.close(); stream = null; $('live').textContent = ''; $('token').focus(); },
};

function show(view, rest) {
  timers.forEach(clearInterval);
  timers = [];
  current = view;
  for (const name of views) $(`view-${name}`).hidden = name !== view;
  $('views').hidden = $('leave').hidden = view === 'login';
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#${view}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = view === 'login' ? 'mailroot' : `${view[0].toUpperCase()}${view.slice(1)} – mailroot`;
  return entering[view] && entering[view](rest);
}

function route() {
  const [view, ...rest] = location.hash.slice(1).split('/');
  show(views.includes(view) && view !== 'login' ? view : 'now', rest.join('/'));
  if (document.activeElement === document.body) $('main').focus();
}

$('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  $('login-fault').textContent = '';
  try {
    await ask('POST', '/admin/login', { token: $('token').value.trim() });
    $('token').value = '';
    route();
  } catch (fault) { $('login-fault').textContent = fault.message; }
});
$('leave').addEventListener('click', async () => { await attempt(() => ask('POST', '/admin/logout', {})); show('login'); });
$('search').addEventListener('submit', (event) => { event.preventDefault(); attempt(() => search()); });
$('more').addEventListener('click', () => attempt(() => search($('more').value)));
$('trace').addEventListener('submit', (event) => { event.preventDefault(); attempt(() => trace($('trace-word').value.trim())); });
$('compose').addEventListener('submit', async (event) => {
  event.preventDefault();
  const done = await attempt(() => ask('POST', '/v1/messages', Object.fromEntries(new FormData($('compose')))));
  if (done) { toast(`In Pickup as ${done.pickup}`); $('compose').reset(); }
});
$('choose-all').addEventListener('change', () => {
  for (const box of document.querySelectorAll('#messages input')) box.checked = $('choose-all').checked;
  tellChosen();
});
for (const button of document.querySelectorAll('[data-verb]')) button.addEventListener('click', () => change(button.dataset.verb, chosen()));
for (const button of document.querySelectorAll('[data-span]')) button.addEventListener('click', () => {
  span = button.dataset.span;
  for (const other of document.querySelectorAll('[data-span]')) other.setAttribute('aria-pressed', String(other === button));
  attempt(showGraphs);
});
$('file').addEventListener('change', () => { [...$('file').files].forEach(sendFile); $('file').value = ''; });
document.addEventListener('dragover', (event) => { event.preventDefault(); document.body.classList.add('dragging'); });
document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) document.body.classList.remove('dragging'); });
document.addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dragging');
  if (current !== 'login') [...event.dataTransfer.files].forEach(sendFile);
});
window.addEventListener('hashchange', route);
route();
