// Opens a page, types a name and sends its form at once: node work.js CHROMIUM URL NAME
'use strict';
const { chromium } = require('playwright-core');

const [executablePath, url, name] = process.argv.slice(2);

(async () => {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const page = await browser.newPage();
  await page.goto(url);
  await page.fill('[name=name]', name);
  const answered = page.waitForResponse((response) => response.request().method() === 'POST', { timeout: 60000 });
  const early = await page.evaluate(() => {
    const form = document.querySelector('form');
    const isEarly = !form.elements['mailroot-work'];
    form.requestSubmit();
    return isEarly;
  });
  const status = (await answered).status();
  console.log(JSON.stringify({ status, early }));
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
