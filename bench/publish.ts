import type { Bench } from './bench.ts';
import { median, quantile } from './statistics.ts';

const count = 100;
const pauseMs = 50;

/**
 * From sending the POST until a watch delivers the address; the next Service follows `pauseMs` later. The same client,
 * in the control plane's network namespace, sends the POSTs, which measure the cost of a write here.
 */
export const publish: Bench = {
  name: 'publish',
  title: `create → address published, ${count} Services one at a time`,
  run: async ({ cluster, progress }) => {
    const { createServices, startFuriwake } = await cluster();
    await using _furiwake = await startFuriwake();
    using step = progress.step(`Creating ${count} Services one by one`);
    const services = Array.from({ length: count }, (_, index) => ({ name: `one-${index}` }));
    const creations = await createServices({ services, workers: 1, pauseMs });
    step.done();
    const published = creations.map(({ createdAt, publishedAt }) => publishedAt - createdAt);
    const posts = creations.map(({ createdAt, answeredAt }) => answeredAt - createdAt);
    return [
      { what: 'published, median', value: median(published), unit: 'ms', target: { atMost: 30 } },
      { what: 'published, p90', value: quantile(published, 0.9), unit: 'ms' },
      { what: 'published, p99', value: quantile(published, 0.99), unit: 'ms', target: { atMost: 80 } },
      { what: 'one API write (the POST), median', value: median(posts), unit: 'ms' },
      {
        what: 'published, in API writes, medians',
        value: median(published) / median(posts),
        unit: '×',
        target: { atMost: 4 },
      },
    ];
  },
};
