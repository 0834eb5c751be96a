// Works the admin page with the keyboard alone, then looks at it narrow and as a screen reader does.
//   node keyboard.js CHROMIUM URL TOKEN FOLDER   prints {"unseen": […], "tree": {view: text}, "wide": […], "held": …, "left": …}
'use strict';
const path = require('path');
const { chromium } = require('playwright-core');

const [executablePath, base, token, folder] = process.argv.slice(2);
const unseen = [], tree = {}, wide = [];

const focused = (page) => page.evaluate(() => {
  const on = document.activeElement, style = getComputedStyle(on.type === 'file' ? document.querySelector(`label[for=${on.id}]`) : on);
  return { name: on.getAttribute('aria-label') || on.textContent.trim().slice(0, 40) || on.id, tag: on.tagName, id: on.id, hash: on.hash || '',
    seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none' };
});

/* Tabs until `wanted` says so; each stop must show that it has the focus. */
async function tabTo(page, wanted, what) {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab');
    const on = await focused(page);
    if (on.tag === 'BODY') continue;
    if (!on.seen) unseen.push(on.name || on.tag);
    if (wanted(on)) return on;
  }
  throw new Error(`the keyboard does not reach ${what}`);
}

async function work(page) {
  await page.goto(`${base}/admin/`);
  await page.waitForSelector('#token:visible');
  await page.keyboard.type(token); // the field has the focus
  await page.keyboard.press('Enter');
  await page.waitForSelector('#destinations tr');
  await tabTo(page, (on) => on.hash === '#queue', 'the view Queue');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#messages tr');
  await tabTo(page, (on) => on.id === 'q-recipient', 'the search');
  await page.keyboard.type('u1@*');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('#messages tr').length === 1);
  await tabTo(page, (on) => /^Choose [0-9a-f]{16}$/.test(on.name), 'a message');
  await page.keyboard.press('Space');
  await page.waitForSelector('[data-verb=hold]:not([disabled])');
  await page.keyboard.down('Shift');
  for (let i = 0; i < 20 && (await focused(page)).name !== 'Hold'; i++) await page.keyboard.press('Tab');
  await page.keyboard.up('Shift');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('#messages .badge').textContent === 'held');
  const held = await page.textContent('#messages .badge');
  await page.focus('#choose-all');
  await page.keyboard.press('Space');
  await page.keyboard.down('Shift');
  for (let i = 0; i < 20 && (await focused(page)).name !== 'Remove…'; i++) await page.keyboard.press('Tab');
  await page.keyboard.up('Shift');
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open]');
  await page.keyboard.press('Escape'); // asks first, and Escape means no
  await page.waitForSelector('dialog:not([open])', { state: 'attached' });
  const left = await page.$$eval('#messages tr', (all) => all.length);
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open]');
  await tabTo(page, (on) => on.id === 'ask-yes', 'the yes of the question');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('#messages tr').length === 0);
  await page.keyboard.press('Home');
  await tabTo(page, (on) => on.hash === '#send', 'the view Send');
  await page.keyboard.press('Enter');
  await tabTo(page, (on) => on.id === 'file', 'the choice of a file');
  await tabTo(page, (on) => on.tag === 'BUTTON' && on.name === 'Send', 'the button Send');
  return { held, left };
}

async function read(page) {
  for (const name of ['now', 'queue', 'trace', 'badmail', 'domains', 'send']) {
    await page.goto(`${base}/admin/#${name}`);
    await page.waitForSelector(`#view-${name}:not([hidden])`);
    if (name === 'badmail') await page.waitForFunction(() => document.getElementById('badmail-note').textContent);
    tree[name] = await page.locator('body').ariaSnapshot();
    await page.setViewportSize({ width: 380, height: 800 });
    if (await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth)) wide.push(name);
    await page.screenshot({ path: path.join(folder, `narrow-${name}.png`) });
    await page.setViewportSize({ width: 1200, height: 800 });
  }
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  page.setDefaultTimeout(30000);
  const done = await work(page).catch(async (error) => {
    await page.screenshot({ path: path.join(folder, 'fault.png') });
    throw error;
  });
  await read(page);
  console.log(JSON.stringify({ unseen, tree, wide, ...done }));
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
