// What one can do from the launcher and the command palette.

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { sliceIcon } from './dicom';
import { post } from './server';

const ID = 's4s-notebook:commands';
const CATEGORY = 'Sync for Science';

interface ISettings {
  holder: string;
  store: string;
}

/** Python source of a string, whatever is in it. */
const quoted = (text: string): string => JSON.stringify(text);

/** The first cell of a notebook that connects as the settings say. */
export function firstCell({ holder, store }: ISettings): string {
  // Without a holder, connect() asks for one in the notebook.
  const given = [
    ...(holder ? [quoted(holder)] : []),
    ...(store ? [`store=s4s.Store(${quoted(store)})`] : [])
  ];
  return [
    'import s4s_notebook as s4s',
    '',
    `me = s4s.connect(${given.join(', ')})`
  ].join('\n');
}

async function settingsOf(
  registry: ISettingRegistry | null
): Promise<ISettings> {
  const loaded = await registry?.load(ID);
  return {
    holder: String(loaded?.composite.holder ?? 'sandbox'),
    store: String(loaded?.composite.store ?? '')
  };
}

async function openCopy(
  app: JupyterFrontEnd,
  which: 'first' | 'workshop',
  folder: string
): Promise<void> {
  const { path } = await post<{ path: string }>('notebooks', { which, folder });
  // The list of notebooks is there to be read and clicked, not to be edited.
  const factory = path.endsWith('.md') ? 'Markdown Preview' : undefined;
  await app.commands.execute('docmanager:open', { path, factory });
}

async function connectNew(
  app: JupyterFrontEnd,
  registry: ISettingRegistry | null,
  folder: string
): Promise<void> {
  const source = firstCell(await settingsOf(registry));
  const contents = app.serviceManager.contents;
  const file = await contents.newUntitled({ type: 'notebook', path: folder });
  const cell = {
    cell_type: 'code',
    id: 'connect',
    metadata: {},
    outputs: [],
    execution_count: null,
    source
  };
  const content = { nbformat: 4, nbformat_minor: 5, metadata: {}, cells: [cell] };
  await contents.save(file.path, { type: 'notebook', format: 'json', content });
  await app.commands.execute('docmanager:open', { path: file.path });
}

async function runSandbox(run: boolean): Promise<void> {
  const { url } = await post<{ url: string }>('sandbox', { run });
  Notification.success(
    run
      ? `The sandbox runs at ${url}. Kernels that start from now on use it.`
      : 'The sandbox has stopped.',
    { autoClose: 8000 }
  );
}

export const commands: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Launcher card and commands.',
  autoStart: true,
  optional: [ICommandPalette, ILauncher, IDefaultFileBrowser, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    browser: IDefaultFileBrowser | null,
    registry: ISettingRegistry | null
  ): void => {
    const folder = (args: { cwd?: unknown }): string =>
      String(args.cwd ?? browser?.model.path ?? '');
    const add = (
      name: string,
      label: string,
      caption: string,
      run: (args: { cwd?: unknown }) => Promise<void>
    ): void => {
      const command = `s4s:${name}`;
      app.commands.addCommand(command, {
        label: args => (args.isPalette ? label : label.replace('S4S: ', '')),
        caption,
        icon: args => (args.isPalette ? undefined : sliceIcon),
        execute: args =>
          run(args).catch(error => {
            Notification.error(String(error.message ?? error), {
              autoClose: false
            });
          })
      });
      palette?.addItem({ command, category: CATEGORY, args: { isPalette: true } });
    };

    add(
      'first-notebook',
      'S4S: first image',
      'From authorising to a picture, with a practice data holder',
      args => openCopy(app, 'first', folder(args))
    );
    add('workshop', 'S4S: workshop', 'All notebooks of the workshop', args =>
      openCopy(app, 'workshop', folder(args))
    );
    add(
      'connect',
      'S4S: connect',
      'A new notebook that connects to the data holder in the settings',
      args => connectNew(app, registry, folder(args))
    );
    add('start-sandbox', 'S4S: start the sandbox', 'A practice data holder', () =>
      runSandbox(true)
    );
    add('stop-sandbox', 'S4S: stop the sandbox', 'A practice data holder', () =>
      runSandbox(false)
    );
    for (const [rank, name] of ['first-notebook', 'workshop', 'connect'].entries()) {
      launcher?.add({ command: `s4s:${name}`, category: CATEGORY, rank });
    }
  }
};
