'use strict';
// How long the admin page takes from the navigation to all of its figures, lists and graphs, TIMES times: milliseconds as JSON.
const { chromium } = require('playwright-core');
const [executablePath, base, token, times] = process.argv.slice(2);

async function main() {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const page = await browser.newPage();
  const ready = () => document.querySelectorAll('#figures dd').length && document.querySelector('#destinations tr')
    && document.querySelector('#graph-delay svg') && performance.now();
  await page.goto(`${base}/admin/`);
  await page.fill('#token', token);
  await page.keyboard.press('Enter');
  await page.waitForFunction(ready);
  const found = [];
  for (let count = 0; count < Number(times); count++) {
    await page.goto(`${base}/admin/`);
    found.push(await (await page.waitForFunction(ready)).jsonValue());
  }
  const note = await page.textContent('#destinations-note');
  await browser.close();
  console.log(JSON.stringify({ ms: found, note }));
}

main().catch((fault) => { console.error(fault); process.exit(1); });
