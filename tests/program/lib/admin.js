// Works through the admin page as an operator would, with axe-core on every view, in light and dark.
//   node admin.js CHROMIUM URL TOKEN FOLDER EML   prints {"findings": […], "faults": […], "facts": {…}}; screenshots go to FOLDER
'use strict';
const path = require('path');
const { chromium } = require('playwright-core');

const [executablePath, base, token, folder, eml] = process.argv.slice(2);
const findings = [], faults = [], facts = {};

async function look(page, name) {
  await page.addScriptTag({ path: require.resolve('axe-core/axe.min.js') }).catch(() => null);
  await page.evaluate(() => window.axe || Promise.reject(new Error('no axe')));
  const seen = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  for (const finding of seen.violations) findings.push(`${name}: ${finding.id}: ${finding.nodes.map((node) => node.html).join(' ')}`);
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}

async function confirm(page, value) {
  await page.waitForSelector('dialog[open]');
  if (value) await page.fill('#ask-value', value);
  await page.click('#ask-yes');
}

async function view(page, name) {
  await page.click(`nav a[href="#${name}"]`);
  await page.waitForSelector(`#view-${name}:not([hidden])`);
}

/* What the browser tells a page when a file is dragged onto it. */
async function drag(page, name, content) {
  const files = await page.evaluateHandle(([called, text]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], called, { type: 'message/rfc822' }));
    return transfer;
  }, [name, content]);
  for (const type of ['dragenter', 'dragover']) await page.dispatchEvent('body', type, { dataTransfer: files });
  await page.waitForSelector('body.dragging');
  await page.dispatchEvent('body', 'drop', { dataTransfer: files });
  await page.waitForSelector('body:not(.dragging)');
}

async function rows(page, count) {
  await page.waitForFunction((wanted) => document.querySelectorAll('#messages tr').length === wanted, count);
}

async function work(page) {
  await page.goto(`${base}/admin/`);
  await page.waitForSelector('#token:visible');
  await look(page, 'login');
  await page.fill('#token', 'wrong');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.getElementById('login-fault').textContent);
  await page.fill('#token', token);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#destinations tr');
  await page.waitForSelector('#graph-delay svg');
  await page.waitForSelector('#live.on');
  await look(page, 'now');
  facts.spans = {};
  for (const span of ['day', 'month', 'hour']) {
    await page.click(`[data-span=${span}]`);
    await page.waitForFunction((wanted) => document.querySelector('#graph-mail svg').getAttribute('aria-label').startsWith(`Over the last ${wanted}`), span);
    facts.spans[span] = await page.$$eval('[data-span]', (all) => all.filter((one) => one.getAttribute('aria-pressed') === 'true').map((one) => one.dataset.span));
  }
  facts.destinations = await page.$$eval('#destinations tr', (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));

  await view(page, 'queue');
  await page.waitForSelector('#messages tr');
  facts.listed = await page.$$eval('#messages tr', (all) => all.length);
  await look(page, 'queue');
  await page.fill('#q-recipient', 'u1@*');
  await page.keyboard.press('Enter');
  await rows(page, 1);
  for (const [button, state] of [['hold', 'held'], ['release', 'queued'], ['retry', 'queued']]) {
    await page.check('#choose-all');
    await page.click(`[data-verb=${button}]`);
    await page.waitForFunction((wanted) => document.querySelector('#messages .badge').textContent === wanted
      && document.querySelectorAll('#messages input:checked').length === 0, state);
  }
  await page.check('#choose-all');
  await page.click('[data-verb=reroute]');
  await look(page, 'reroute');
  await confirm(page, '127.0.0.1:1');
  await page.waitForFunction(() => document.querySelectorAll('#messages input:checked').length === 0);
  await page.click('#messages a');
  await page.waitForSelector('#message-events li');
  await page.click('summary');
  facts.header = await page.textContent('#message pre');
  await look(page, 'message');
  for (const [verb, state] of [['Hold', 'held'], ['Release', 'queued'], ['Retry', 'queued']]) {
    await page.click(`#message button:text-is("${verb}")`);
    await page.waitForFunction((wanted) => document.querySelector('#message .badge').textContent === wanted, state);
  }
  await page.click('#message button:text-is("Reroute")');
  await confirm(page, '127.0.0.1:2');
  await page.waitForFunction(() => [...document.querySelectorAll('#message-events li')].some((item) => /rerouted/.test(item.textContent)));
  await view(page, 'queue');
  await rows(page, 1);
  await page.check('#choose-all');
  await page.click('[data-verb=remove]');
  await confirm(page);
  await rows(page, 0);

  await view(page, 'badmail');
  await page.waitForFunction(() => document.querySelectorAll('#badmail article').length === 2);
  await page.click('#badmail article:has-text("second") button.danger');
  await confirm(page);
  await page.waitForFunction(() => document.querySelectorAll('#badmail article').length === 1);
  await page.click('#badmail article button');
  await page.waitForSelector('#badmail textarea');
  await look(page, 'badmail');
  await page.$eval('#badmail textarea', (area) => { area.value = 'From: mended@sender.test\n' + area.value; });
  await page.click('#badmail article > div:last-child button');
  await page.waitForFunction(() => !document.querySelector('#badmail article'));

  await view(page, 'domains');
  await page.waitForSelector('#domains tr');
  await look(page, 'domains');
  facts.domains = await page.$$eval('#domains tr', (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));

  await view(page, 'send');
  await page.setInputFiles('#file', eml);
  await page.waitForSelector('#view-trace:not([hidden])');
  await page.waitForSelector('.toast');
  await page.waitForFunction(async () => {
    document.getElementById('trace').requestSubmit();
    await new Promise((done) => setTimeout(done, 200));
    return document.querySelectorAll('#trace-events li').length > 0;
  });
  await look(page, 'trace');
  await view(page, 'send');
  await drag(page, 'dragged.eml', 'From: a@sender.test\r\nTo: dragged@d0.test\r\n\r\nx\r\n');
  await page.waitForSelector('#view-trace:not([hidden])');
  await page.waitForFunction(() => [...document.querySelectorAll('.toast')].some((one) => one.textContent.startsWith('dragged.eml is in Pickup')));
  await view(page, 'send');
  for (const [id, value] of [['c-from', 'a@sender.test'], ['c-to', 'typed@d0.test'], ['c-subject', 'Typed \u00fc'], ['c-text', 'x']]) await page.fill(`#${id}`, value);
  await look(page, 'send');
  await page.click('#compose button');
  await page.waitForFunction(() => document.getElementById('c-to').value === '');
  await view(page, 'now');
  await page.waitForSelector('#happening li');
  await page.click('#leave');
  await page.waitForSelector('#token:visible');
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const dark = process.env.DARK === '1';
  const context = await browser.newContext({ colorScheme: dark ? 'dark' : 'light', viewport: { width: 1200, height: 800 }, bypassCSP: true });
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => { if (/Content.Security/i.test(message.text())) faults.push(message.text()); });
  page.on('request', (request) => { if (!request.url().startsWith(base) && !request.url().startsWith('data:')) faults.push(`asked ${request.url()}`); });
  page.on('dialog', (dialog) => { faults.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
  await work(page).catch(async (error) => {
    await page.screenshot({ path: path.join(folder, 'fault.png') });
    throw error;
  });
  console.log(JSON.stringify({ findings, faults, facts }));
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
