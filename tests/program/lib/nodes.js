// The figures of the admin page's first view, once they tell of so many nodes, with axe-core's findings.
//   node nodes.js CHROMIUM URL TOKEN COUNT   prints {"figures": {name: text}, "bad": [name], "findings": […]}
'use strict';
const { chromium } = require('playwright-core');

const [executablePath, base, token, count] = process.argv.slice(2);

(async () => {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const page = await (await browser.newContext({ bypassCSP: true })).newPage();
  await page.goto(`${base}/admin/`);
  await page.fill('#token', token);
  await page.keyboard.press('Enter');
  await page.waitForFunction((wanted) => [...document.querySelectorAll('#figures dt')].filter((name) => name.textContent.startsWith('node ')).length === wanted,
    Number(count));
  const [figures, bad] = await page.evaluate(() => {
    const all = [...document.querySelectorAll('#figures > div')], name = (one) => one.querySelector('dt').textContent;
    return [Object.fromEntries(all.map((one) => [name(one), one.querySelector('dd').textContent])), all.filter((one) => one.className === 'bad').map(name)];
  });
  await page.addScriptTag({ path: require.resolve('axe-core/axe.min.js') });
  const seen = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  console.log(JSON.stringify({ figures, bad, findings: seen.violations.map((finding) => finding.id) }));
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
