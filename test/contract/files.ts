import { describe, expect, test } from 'vitest';
import type { Files } from '../../src/ports/files.ts';

/** Files, and an empty folder for them. */
export type FilesScene = AsyncDisposable & { readonly files: Files; readonly folder: string };

/** The contract of every implementation of the port. */
export function filesContract(name: string, makeScene: () => Promise<FilesScene>): void {
  describe(`files contract: ${name}`, () => {
    test('a file has the text that was written last, and what was appended to it', async () => {
      await using scene = await makeScene();
      const { files } = scene;
      const path = `${scene.folder}/file`;
      expect(await files.read(path)).toBeUndefined();
      expect(await files.readStart(path, 5)).toBeUndefined();
      await files.write(path, 'one\n');
      await files.write(path, 'two\n');
      await files.append(path, 'three\n');
      await files.sync(path);
      expect(await files.read(path)).toBe('two\nthree\n');
      expect(await files.readStart(path, 5)).toBe('two\nt');
      expect(await files.readStart(path, 100)).toBe('two\nthree\n');
      expect(await files.list(scene.folder)).toEqual(['file']);
    });

    test('nothing is written to a folder, or to one that does not exist', async () => {
      await using scene = await makeScene();
      const { files, folder } = scene;
      await files.makeFolder(`${folder}/made`);
      await expect(files.write(`${folder}/none/file`, '')).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(files.write(`${folder}/made`, '')).rejects.toMatchObject({ code: 'EISDIR' });
      await expect(files.append(`${folder}/made`, '')).rejects.toMatchObject({ code: 'EISDIR' });
    });

    test('a file that does not exist can be neither appended to nor synced', async () => {
      await using scene = await makeScene();
      const { files, folder } = scene;
      await expect(files.append(`${folder}/none`, 'text')).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(files.sync(`${folder}/none`)).rejects.toMatchObject({ code: 'ENOENT' });
      expect(await files.exists(`${folder}/none`)).toBe(false);
    });

    test('a folder cannot be read, and a file not listed; a missing one is empty', async () => {
      await using scene = await makeScene();
      const { files, folder } = scene;
      await files.write(`${folder}/file`, '');
      await expect(files.read(folder)).rejects.toMatchObject({ code: 'EISDIR' });
      await expect(files.list(`${folder}/file`)).rejects.toMatchObject({ code: 'ENOTDIR' });
      expect(await files.exists(`${folder}/file/below`)).toBe(false);
      expect(await files.list(`${folder}/none`)).toEqual([]);
    });

    test('a folder is created with its parents, once, but never in place of a file or below one', async () => {
      await using scene = await makeScene();
      const { files, folder } = scene;
      for (let time = 0; time < 2; time++) await files.makeFolder(`${folder}/a/b`);
      expect(await files.list(folder)).toEqual(['a']);
      await files.write(`${folder}/a/b/file`, '');
      await files.makeFolder(`${folder}/a/b`);
      expect(await files.list(`${folder}/a/b`)).toEqual(['file']);
      await expect(files.makeFolder(`${folder}/a/b/file`)).rejects.toMatchObject({ code: 'EEXIST' });
      await expect(files.makeFolder(`${folder}/a/b/file/c/d`)).rejects.toMatchObject({ code: 'ENOTDIR' });
    });

    test('only the owner may read a file or a folder, unless a mode is set', async () => {
      await using scene = await makeScene();
      const { files, folder } = scene;
      await files.write(`${folder}/file`, '');
      await files.write(`${folder}/open`, '', 0o644);
      await files.makeFolder(`${folder}/made`);
      await files.makeFolder(`${folder}/entered`, 0o711);
      const found = ['file', 'open', 'made', 'entered', 'none'].map((entry) => files.stat(`${folder}/${entry}`));
      expect(await Promise.all(found)).toEqual([
        expect.objectContaining({ isFolder: false, mode: 0o600 }),
        expect.objectContaining({ isFolder: false, mode: 0o644 }),
        expect.objectContaining({ isFolder: true, mode: 0o700 }),
        expect.objectContaining({ isFolder: true, mode: 0o711 }),
        undefined,
      ]);
    });

    test('a removed folder takes its contents along; removing nothing does not fail', async () => {
      await using scene = await makeScene();
      const { files, folder } = scene;
      await files.makeFolder(`${folder}/a/b`);
      await files.write(`${folder}/a/b/file`, '');
      await files.write(`${folder}/ab`, '');
      for (let time = 0; time < 2; time++) await files.remove(`${folder}/a`);
      expect(await files.list(folder)).toEqual(['ab']);
      expect([await files.exists(`${folder}/a`), await files.exists(`${folder}/ab`)]).toEqual([false, true]);
    });
  });
}
