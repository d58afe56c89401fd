import { chmod, rm } from 'node:fs/promises';
import { build } from 'esbuild';

/** One file that Node runs without node_modules: `dist/furiwake.js`. */
await rm('dist', { recursive: true, force: true });
const result = await build({
  entryPoints: ['src/main/furiwake.ts'],
  outfile: 'dist/furiwake.js',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node22',
  minifySyntax: true,
  minifyWhitespace: true, // names stay, for stacks
  legalComments: 'linked',
  // The optimising compiler on its own threads leaves 15 MB behind in their arenas; it must be told at the start.
  // Packages in the older module format ask for `require`.
  banner: {
    js: "#!/usr/bin/env -S node --no-concurrent-recompilation\nimport { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);",
  },
  metafile: true,
});
await chmod('dist/furiwake.js', 0o755);
const bytes = Object.values(result.metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
process.stdout.write(`dist/furiwake.js: ${(bytes / 1024).toFixed(0)} KiB\n`);
