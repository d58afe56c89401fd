import type { Bench } from './bench.ts';
import { median } from './statistics.ts';

const few = { count: 100, workers: 8 };
const many = { count: 1_000, workers: 16 };

/** Services created as fast as the API server accepts them; then furiwake's memory with them. */
export const burst: Bench = {
  name: 'burst',
  title: `${few.count} Services by ${few.workers} workers, ${many.count} by ${many.workers}; memory`,
  run: async ({ cluster, progress }) => {
    const { createServices, deleteServices, startFuriwake } = await cluster();
    await using furiwake = await startFuriwake();
    const create = async ({ count, workers }: typeof few): Promise<Awaited<ReturnType<typeof createServices>>> => {
      using step = progress.step(`Creating ${count} Services by ${workers} workers`);
      const services = Array.from({ length: count }, (_, index) => ({ name: `burst-${index}` }));
      const creations = await createServices({ services, workers });
      step.done();
      return creations;
    };
    const first = await create(few);
    await deleteServices();
    const second = await create(many);
    const { residentMb, peakMb } = await furiwake.memory();
    const lastCreate = Math.max(...second.map(({ answeredAt }) => answeredAt));
    const lastPublished = Math.max(...second.map(({ publishedAt }) => publishedAt));
    const firstCreate = Math.min(...second.map(({ createdAt }) => createdAt));
    return [
      {
        what: `${few.count} Services: create → published, median`,
        value: median(first.map(({ createdAt, publishedAt }) => publishedAt - createdAt)),
        unit: 'ms',
        target: { atMost: 350 },
      },
      {
        what: `${many.count} Services: all published after the last create`,
        value: (lastPublished - lastCreate) / 1000,
        unit: 's',
        target: { atMost: 1 },
      },
      { what: `${many.count} Services: creating them`, value: (lastCreate - firstCreate) / 1000, unit: 's' },
      { what: 'resident memory with them', value: residentMb, unit: 'MB', target: { atMost: 110 } },
      { what: 'resident memory, peak', value: peakMb, unit: 'MB', target: { atMost: 110 } },
    ];
  },
};
