exports.handler = async () => "ran";
