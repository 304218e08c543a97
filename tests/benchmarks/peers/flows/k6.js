// The flow by k6's browser module. What it needs comes from the environment.
import { browser } from 'k6/browser';

export const options = {
  scenarios: {
    visit: {
      executor: 'constant-vus',
      vus: Number(__ENV.PEER_AT_ONCE),
      duration: '1h',
      options: { browser: { type: 'chromium' } },
    },
  },
};

export default async function () {
  const context = await browser.newContext();
  const page = await context.newPage();
  try {
    await page.goto(__ENV.PEER_URL, { waitUntil: 'load' });
    await page.evaluate(() => scrollBy({ top: 600, behavior: 'instant' }));
    await page.evaluate(() => scrollBy({ top: 600, behavior: 'instant' }));
    await Promise.all([
      page.waitForNavigation({ waitUntil: 'load' }),
      page.getByRole('link', { name: 'Next' }).click(),
    ]);
  } finally {
    await context.close();
  }
}
