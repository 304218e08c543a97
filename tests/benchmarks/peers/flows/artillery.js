module.exports = { visit };

async function visit(page) {
  await page.goto(process.env.PEER_URL, { waitUntil: 'load' });
  await page.evaluate("scrollBy({top: 600, behavior: 'instant'})");
  await page.evaluate("scrollBy({top: 600, behavior: 'instant'})");
  await Promise.all([
    page.waitForNavigation({ waitUntil: 'load' }),
    page.getByRole('link', { name: 'Next' }).click(),
  ]);
}
