import { defineConfig, type ViteUserConfig } from 'vitest/config';

/**
 * Three suites: `unit` needs nothing, `netns` needs root and the daemons, `e2e` needs the lab (root, Go). `soak` is apart, because
 * it takes long.
 */
const config: ViteUserConfig = defineConfig({
  test: {
    teardownTimeout: 120_000, // a lab is removed within it
    maxConcurrency: 16, // of the tests of one file that are marked concurrent: they wait, mostly
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'src/**/*.test.ts',
            'tools/**/*.test.ts',
            'test/sim/**/*.test.ts',
            'lab/**/*.test.ts',
            'bench/**/*.test.ts',
            'test/corpus/**/*.test.ts',
            'test/conformance/**/*.test.ts',
          ],
          exclude: ['**/*.netns.test.ts'],
          setupFiles: ['test/unit/seed.ts'],
          deps: { interopDefault: false }, // a CommonJS package is imported as Node imports it
          // The machines may be shared: the deadline must catch tests that hang, not slow ones.
          testTimeout: 240_000,
          expect: { poll: { timeout: 60_000 } }, // a stall of the default, a second, is no failure
          maxWorkers: '100%', // the default leaves a core idle: one of two
          isolate: false, // modules are loaded once for each worker, not for each file: none has a state of its own
        },
      },
      {
        test: {
          name: 'soak',
          include: ['test/sim/**/*.soak.ts'],
          deps: { interopDefault: false },
          testTimeout: 7_200_000,
        },
      },
      {
        test: {
          name: 'netns',
          include: ['src/**/*.netns.test.ts', 'test/netns/**/*.test.ts'],
          globalSetup: ['test/netns/global-setup.ts'],
          testTimeout: 240_000,
          hookTimeout: 240_000,
          maxWorkers: 4, // each file has namespaces of its own; most tests wait for daemons, so that two cores run four files
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/e2e/harness/global-setup.ts'],
          testTimeout: 240_000,
          hookTimeout: 900_000,
          maxWorkers: 2, // each has a lab of its own
        },
      },
    ],
  },
});

export default config;
