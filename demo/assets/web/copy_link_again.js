() => new Promise((done) => { setTimeout(() => done('Copy link'), 2500); })
